// restore_scaling: how a restore's time grows with the guest's memory and vCPUs, and with the
// number of restores at once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/harness/definition.h"

namespace stasis::experiments {

const Definition& restore_scaling_definition();

namespace restore_scaling {

std::vector<CheckOutcome> check(const Plan& plan, const RowTable& table);

//   restore_many   at_once, and the parameters of restore   that many processes at the same time
//
// Its metrics: slowest_ns and median_ns to the first response since all were started, wall_ns until
// all have ended, cpu_ns of all together, per_second: restores.
std::span<const TrialKind> trials();

std::string size_id(const std::string& policy, std::uint64_t mib, std::uint32_t vcpus);
std::string at_once_id(const std::string& policy, std::uint32_t at_once);

}  // namespace restore_scaling
}  // namespace stasis::experiments
