// What an x86-64 bare guest finds when it starts: page tables, descriptor tables, exception stubs,
// and registers as if a kernel had just entered ring 3. All of it is written before the guest first
// runs and never again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/address.h"
#include "core/guest_memory.h"
#include "core/result.h"
#include "core/x86_state.h"

namespace stasis::guests {

// Privileged structures of the first 2 MiB (guests/abi.h has what the guest may see).
inline constexpr std::uint64_t kX86GdtAddress = 0x4000;
inline constexpr std::uint64_t kX86IdtAddress = 0x5000;
inline constexpr std::uint64_t kX86StubsAddress = 0x6000;
inline constexpr std::uint64_t kX86TssAddress = 0x80000;  // One page a vCPU.
inline constexpr std::uint64_t kX86PageTablesAddress = 0x100000;

// Which register state the guest may use. Value.
struct X86Features {
  bool avx = false;
  bool avx512 = false;
};
// From Capabilities::cpu_features.
X86Features x86_features(const std::vector<std::string>& names);

// Writes the structures above for `vcpus` vCPUs. `memory` has the layout of
// guest_memory_regions().
Result<void> write_x86_system(GuestMemory& memory, std::uint32_t vcpus);

// Ring 3 at `entry`, on the vCPU's own stack, RDI and RSI as the ABI says, interrupts off.
X86VcpuState x86_start_state(Gpa entry, std::uint32_t vcpu, const X86Features& features);

}  // namespace stasis::guests
