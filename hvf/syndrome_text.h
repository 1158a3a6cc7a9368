// A trap in words, for the reason of an ExitFailed.
#pragma once

#include <string>

#include "hvf/syndrome.h"

namespace stasis::hvf {

// "data abort, translation fault at level 3 (code 0x7), store of 4 bytes from w3"
std::string describe(const Trap& trap);

}  // namespace stasis::hvf
