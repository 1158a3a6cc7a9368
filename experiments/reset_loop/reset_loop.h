// reset_loop: what it costs to put a guest back in place after each request, by how much it has
// written and by the tracker that finds it; as multiples of collecting alone and a memcpy.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "experiments/harness/definition.h"

namespace stasis::experiments {

const Definition& reset_loop_definition();

namespace reset_loop {

std::vector<CheckOutcome> check(const Plan& plan, const RowTable& table);

// The kind of trials:
//   reset_loop  backend snapshot policy tracker request resets    one restore, then so many resets
// Its metrics, of which the times are medians over the resets of a trial:
//   reset_ns, reset_p99_ns   the whole, with the pause; and their 99th percentile
//   state_ns, collect_ns, copy_ns   its parts (snapshot/reset/resetter.h)
//   memory_ns        collect_ns + read_ns + copy_ns
//   floor_ns         the tracker's collection alone, and a memcpy of the same pages
//   first_reset_ns   the first reset, which reads what later ones find held
//   full_copy_ns     a memcpy of all of the guest's memory
//   dirty_pages      that the tracker named
//   strayed_pages    that were put back without being named, or named and not put back
std::span<const TrialKind> trials();

std::string reset_id(const std::string& tracker, std::uint64_t mib, std::uint64_t pages);

}  // namespace reset_loop
}  // namespace stasis::experiments
