// Which dirty tracker costs a guest least, and why: what `--tracker auto` takes. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/capabilities.h"
#include "snapshot/trackers/cost_table.h"

namespace stasis::snapshot {

// What a tracker will have to do, in pages of 4 KiB: armed once, and collected once when the guest
// has written. Value.
struct TrackerWorkload {
  std::uint64_t memory_pages = 0;
  std::uint64_t resident_pages = 0;  // At most memory_pages.
  // Brought in when they are touched (a restore with a pager): what looks at all pages has them
  // brought in first.
  std::uint64_t missing_pages = 0;
  std::uint64_t dirty_pages = 0;  // That the guest will write to.
  std::uint32_t vcpus = 1;
  bool is_live = false;  // Snapshots are taken while the guest runs.
  // Vm::protect() works (Capabilities::write_protection).
  bool backend_protects = false;
  friend bool operator==(const TrackerWorkload&, const TrackerWorkload&) = default;
};

// The guest's time that a tracker takes, summed over its vCPUs: all stand still while it is armed
// and while it collects. Value.
struct PredictedCost {
  double arm_ns = 0;
  double writes_ns = 0;
  double collect_ns = 0;
  double side_ns = 0;  // Bringing in what is missing, and what a live capture pays for its company.
  [[nodiscard]] double total_ns() const { return arm_ns + writes_ns + collect_ns + side_ns; }
};
// Nothing is checked: `name` must be in `costs`.
PredictedCost predict_cost(std::string_view name, const CostTable& costs,
                           const TrackerWorkload& workload);

// Value.
struct RankedTracker {
  std::string name;
  PredictedCost cost;
  std::string reason;  // One sentence: what speaks for it.
};
// Value.
struct TrackerRanking {
  std::vector<RankedTracker> best_first;
  std::vector<RankedTracker> passed_over;  // Without a cost; the reason is why.
};

// Those of `trackers` that are available and that "auto" may take: exact, or by a hypervisor's log.
// One without plausible figures in `costs` is passed over. Of the best and those that cost at
// most 5 % more the first of tracker_models() is the best, as are equal costs in its order. There
// is always one, because compare-hash needs nothing.
TrackerRanking rank_trackers(std::span<const Availability> trackers, const CostTable& costs,
                             const TrackerWorkload& workload);

// "262144 pages of memory (100 % resident), of which 2621 are expected to be written, 1 vCPU".
std::string describe(const TrackerWorkload& workload);
// "7.86 ms (arming 20 us, first writes 7.86 ms, collecting 90 us)".
std::string describe(const PredictedCost& cost);

}  // namespace stasis::snapshot
