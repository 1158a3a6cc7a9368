#include "experiments/harness/workload.h"

#include <fmt/format.h>

namespace stasis::experiments {

Workload full_workload(const std::string& backend) {
  Workload workload{.backend = backend,
                    .sizes = {},
                    .has_bare_kvm_floor = backend == "kvm",
                    .is_toy = backend == "mock"};
  if (workload.is_toy) {
    workload.sizes = {.small_mib = 32, .middle_mib = 64, .large_mib = 128};
  }
  return workload;
}

Workload quick_workload(const std::string& backend) {
  Workload workload = full_workload(backend);
  workload.is_quick = true;
  workload.sizes = workload.is_toy ? Sizes{.small_mib = 16, .middle_mib = 32, .large_mib = 64}
                                   : Sizes{.small_mib = 64, .middle_mib = 128, .large_mib = 256};
  return workload;
}

Workload workload_of(const Plan& plan) {
  return plan.scale == "quick" ? quick_workload(plan.backend) : full_workload(plan.backend);
}

std::string size_name(std::uint64_t mib) {
  return fmt::format("{}M", mib);
}

}  // namespace stasis::experiments
