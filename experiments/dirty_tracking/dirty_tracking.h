// dirty_tracking: what each dirty tracker costs a guest: to arm it, at the first write to each
// page, and to collect; as multiples of the mechanism behind it on bare KVM.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/harness/definition.h"

namespace stasis::experiments {

const Definition& dirty_tracking_definition();

namespace dirty_tracking {

std::vector<CheckOutcome> check(const Plan& plan, const RowTable& table);

// The kinds of trials:
//   track      backend guest arguments memory_bytes tracker warm pages request     a guest
//   raw_track  memory_bytes mechanism pages stride                                 bare KVM
// Their metrics, of which the times in the guest are by its own counter:
//   plain_ns     the writes, before anything tracks them
//   arm_ns       arming
//   touched_ns   the writes, each the first to its page
//   repeated_ns  the same writes again
//   collect_ns   collecting, which arms again
//   rearmed_ns, recollect_ns  the same once more
//   epoch_ns     rearmed_ns + recollect_ns: what a guest and its monitor pay for each epoch
//   whole_ns     arm_ns + touched_ns + collect_ns: what "auto" is to make small
//   extra_ns     epoch_ns - plain_ns, at least 0
//   first_write_ns  of one page: (touched_ns - plain_ns) / pages, at least 0
//   found_pages, refound_pages  what the collections reported
std::span<const TrialKind> trials();

// "none" is a guest without a tracker.
inline constexpr const char* kUntracked = "none";
std::string tracked_id(const std::string& tracker, std::uint64_t mib, std::uint64_t pages);
std::string raw_id(const std::string& mechanism, std::uint64_t mib, std::uint64_t pages);

}  // namespace dirty_tracking
}  // namespace stasis::experiments
