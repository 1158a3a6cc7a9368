// Which policy suits a snapshot on this host, and why: what `--policy auto` takes. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "snapshot/restore/plan.h"

namespace stasis::snapshot {

inline constexpr std::string_view kAutoPolicy = "auto";

// What the choice rests on. Value.
struct ChoiceFacts {
  std::uint64_t raw_bytes = 0;         // Of guest memory, after the chain has been resolved.
  std::uint64_t compressed_bytes = 0;  // Of guest memory.
  std::uint64_t recorded_bytes = 0;    // Of a working set or a trace; 0: there is none.
  // How much of the recorded part of the payload is in the host's page cache, 0 to 1. Nothing: not
  // known.
  std::optional<double> cached = {};
  bool missing_pages = false;  // Whether this host and backend can serve them.
  bool tracked = false;        // A dirty tracker is armed before the guest runs.
  friend bool operator==(const ChoiceFacts&, const ChoiceFacts&) = default;
};
// Of a plan's input; `cached`, `missing_pages` and `tracked` are the caller's.
ChoiceFacts facts_of(const PlanInput& input);

// Value.
struct PolicyChoice {
  std::string_view policy;           // The name of one.
  std::vector<std::string> reasons;  // One sentence each, in the order of the thoughts.
};
PolicyChoice choose_policy(const ChoiceFacts& facts);

}  // namespace stasis::snapshot
