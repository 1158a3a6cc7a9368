// The vDSO that this build has for its guests (vdso/).
#pragma once

#include <cstddef>
#include <span>

namespace stasis::linux_guest::vm {

// A whole ELF file, to be mapped as it is; empty where Linux guests cannot run.
std::span<const std::byte> vdso_image();

}  // namespace stasis::linux_guest::vm
