// The monitor's program as part of this library.
#pragma once

#include <cstddef>
#include <span>

namespace stasis::hvf::sim {

// An ELF image for QEMU; empty if this build had no compiler for AArch64.
std::span<const std::byte> monitor_image();

}  // namespace stasis::hvf::sim
