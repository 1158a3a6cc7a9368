// What each tracker costs, and the order in which "auto" prefers them.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/capabilities.h"

namespace stasis::snapshot {

// In words, because the figures are the host's: `experiment run` measures them. Value; static text.
struct TrackerCosts {
  std::string_view arming, first_write, collecting;
};
// Empty for a name that does not exist. Pure.
TrackerCosts tracker_costs(std::string_view name);

// What "auto" means here, in words that can be printed. Value.
struct TrackerChoice {
  std::string name;
  std::string reason;  // One sentence.
  friend bool operator==(const TrackerChoice&, const TrackerChoice&) = default;
};

// Every tracker that "auto" may take, best first, with why it stands where it does. Static.
std::span<const std::string_view> tracker_preference();
std::string_view preference_reason(std::string_view name);

// Pure: those of them that are available, best first. There is always one, because compare-hash
// needs nothing.
std::vector<TrackerChoice> rank_trackers(std::span<const Availability> trackers);
// The first of them.
TrackerChoice choose_tracker(std::span<const Availability> trackers);

}  // namespace stasis::snapshot
