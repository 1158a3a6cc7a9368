// The backends that the conformance suite runs on.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "core/hypervisor.h"
#include "tests/conformance/guest_kit.h"

namespace stasis::conformance {

struct BackendCase {
  std::string name;  // As in test names: letters and digits.
  // An error is the reason why this host does not have the backend: the tests are then skipped.
  std::function<Result<std::unique_ptr<HypervisorBackend>>()> make_backend;
  std::function<std::unique_ptr<GuestKit>()> make_kit;
};
void PrintTo(const BackendCase& backend, std::ostream* out);

std::vector<BackendCase> backend_cases();

}  // namespace stasis::conformance
