// The smallest x86-64 environment in which a test's machine code runs in ring 3: page tables that
// map RAM one to one, a TSS whose I/O bitmap allows every port, and an exception handler that
// halts. Independent of guests/, whose loader has tests of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/capabilities.h"
#include "core/guest_memory.h"
#include "core/result.h"
#include "core/x86_state.h"

namespace stasis::x86_ring3 {

// The environment occupies the first MiB of RAM; the code of vCPU n lies at code_address(n).
inline constexpr std::uint64_t kEnvironmentBytes = std::uint64_t{1} << 20U;
inline constexpr std::uint64_t kCodeBytesMax = 0x4000;  // For each vCPU, its tables included.
constexpr Gpa code_address(std::uint32_t vcpu) {
  return Gpa{kEnvironmentBytes + std::uint64_t{vcpu} * kCodeBytesMax};
}
inline constexpr std::uint64_t kMappedBytesMax = std::uint64_t{8} << 30U;

// HLT in ring 3 raises #GP; the handler halts in ring 0, and the vCPU exits with ExitHalted. Every
// other exception ends in a triple fault: ExitFailed.
//
// Writes the tables for vCPUs 0..31 and maps [0, mapped_bytes) with 2 MiB pages, also where there
// is no RAM: devices.
Result<void> write_environment(GuestMemory& memory, std::uint64_t mapped_bytes);

// Copies `code` to code_address(vcpu).
Result<void> write_code(GuestMemory& memory, std::uint32_t vcpu, std::span<const std::byte> code);

// Ring 3 at `entry` with a stack of 4 KiB. With `capabilities` the vCPU can use all FP/SIMD
// registers that they name.
X86VcpuState start_state(std::uint32_t vcpu, Gpa entry, const Capabilities& capabilities);

}  // namespace stasis::x86_ring3

// Machine code, assembled with the test: STASIS_X86_CODE(name, "instructions") defines a function
// name() that returns its bytes. AT&T syntax; use local numeric labels.
#define STASIS_X86_CODE(name, text)                                                    \
  __asm__(".pushsection .rodata\n.globl stasis_x86_" #name "_begin\nstasis_x86_" #name \
          "_begin:\n" text "\n.globl stasis_x86_" #name "_end\nstasis_x86_" #name      \
          "_end:\n.popsection\n");                                                     \
  extern "C" const std::byte stasis_x86_##name##_begin[];                              \
  extern "C" const std::byte stasis_x86_##name##_end[];                                \
  static std::span<const std::byte> name() {                                           \
    return {stasis_x86_##name##_begin, stasis_x86_##name##_end};                       \
  }
