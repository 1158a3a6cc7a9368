#pragma once

#include <memory>

#include "tests/conformance/guest_kit.h"

namespace stasis::conformance {

// Programs in ring 3 of an x86-64 processor.
std::unique_ptr<GuestKit> make_x86_kit();

}  // namespace stasis::conformance
