#pragma once

#include <memory>

#include "tests/conformance/guest_kit.h"

namespace stasis::conformance {

// Programs for the mock backend's toy CPU.
std::unique_ptr<GuestKit> make_toy_kit();

}  // namespace stasis::conformance
