#include "tests/conformance/backend_cases.h"

#include "mock/mock_backend.h"
#include "tests/conformance/toy_kit.h"

#ifdef STASIS_CONFORMANCE_KVM
#include "kvm/probe.h"
#include "tests/conformance/x86_kit.h"
#endif

#ifdef STASIS_CONFORMANCE_HVF
#include "hvf/backend.h"
#include "tests/conformance/arm64_kit.h"
#endif

namespace stasis::conformance {
namespace {

BackendCase mock_case(std::string name, const mock::MockOptions& options) {
  return {std::move(name), [options] { return mock::make_mock_backend(options); }, make_toy_kit};
}

}  // namespace

void PrintTo(const BackendCase& backend, std::ostream* out) {
  *out << backend.name;
}

std::vector<BackendCase> backend_cases() {
  return {
      mock_case("Mock4KiB", {}),
      mock_case("Mock16KiB", {.page_size_bytes = 16384}),
      mock_case("MockOneVm", {.vms_per_process = 1}),
#ifdef STASIS_CONFORMANCE_KVM
      {"Kvm", [] { return kvm::make_backend(); }, make_x86_kit},
#endif
#ifdef STASIS_CONFORMANCE_HVF
      {"Hvf", [] { return hvf::make_backend(); }, make_arm64_kit},
#endif
  };
}

}  // namespace stasis::conformance
