#pragma once

#include <memory>

#include "tests/conformance/guest_kit.h"

namespace stasis::conformance {

// Programs at EL1 of an arm64 processor, with translation on.
std::unique_ptr<GuestKit> make_arm64_kit();

}  // namespace stasis::conformance
