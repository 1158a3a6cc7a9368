// The simulation.
#include "hvf/platform.h"

#include "hvf/sim/diagnosis.h"

namespace stasis::hvf {

Platform platform() {
  return {BackendKind::kHvfSim, "hvf-sim"};
}

Result<void> check_platform() {
  return sim::check_engine_available();
}

void announce_vcpus(std::uint32_t vcpus) {
  sim::expect_vcpus(vcpus);
}

std::string failure_detail() {
  return sim::last_failure();
}

}  // namespace stasis::hvf
