// Guests' accesses to system registers that the framework traps and leaves to its user. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "hvf/syndrome.h"

namespace stasis::hvf {

// What a trapped access to such a register reads; a write to it does nothing. The performance
// monitors (a guest is shown none), the OS lock (never locked) and debug communication read as
// zero but for OSLSR_EL1; CNTPCT_EL0 reads `count`. Nothing for all other registers.
std::optional<std::uint64_t> answer_register_trap(std::uint16_t encoding, std::uint64_t count);

}  // namespace stasis::hvf
