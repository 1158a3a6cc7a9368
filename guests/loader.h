// Puts a bare guest (docs/guest-abi.md) into guest RAM and makes the vCPU states that start it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/address.h"
#include "core/device.h"
#include "core/guest_memory.h"
#include "core/machine.h"
#include "core/result.h"
#include "core/vcpu_state.h"

namespace stasis::guests {

// Value.
struct LoadOptions {
  std::string name = "guest";  // For messages: the file's name.
  std::uint32_t vcpus = 1;
  std::string arguments = {};     // One string; the guest splits it. At most 2047 bytes, no NUL.
  std::uint64_t counter_khz = 0;  // Rate of the guest's RDTSC or CNTVCT; 0: unknown.
  // Capabilities::cpu_features: decides whether AVX and AVX-512 state is switched on (CR4.OSXSAVE,
  // XCR0) and reported in BootInfo::cpu_flags.
  std::vector<std::string> cpu_features = {};
};

// Value. What a Machine needs to start the guest.
struct LoadedGuest {
  Architecture architecture = Architecture::kX86_64;
  std::vector<VcpuState> vcpus;  // In index order, each at the image's entry point.
  Gpa entry;
  GpaRange image = {};  // Page-rounded extent of the loaded segments.
  GpaRange heap = {};   // Free RAM behind the image, as in BootInfo::heap[0].
};

// Validates the whole image first; only then writes to `memory`: the system structures, BootInfo
// and the segments. Nothing else is touched, so fresh memory stays zero and unpopulated.
//
// `memory` has the layout of guest_memory_regions() and is fresh (all zero). Errors name the file,
// the field, the cause and the cure:
//   kCorruption       not an ELF, truncated, or its fields contradict each other;
//   kMismatch         an ELF for another machine, class or byte order, or a dynamic executable;
//   kOutOfRange       a segment or the entry point lies outside RAM or in a reserved area;
//   kInvalidArgument  vCPU count, argument string or memory layout that the ABI does not allow;
//   kNotSupported     an arm64 image (its loader does not exist yet).
Result<LoadedGuest> load_guest(std::span<const std::byte> image, GuestMemory& memory,
                               const LoadOptions& options);

// The state in which a Machine with `bus` starts the guest: all vCPUs running, devices as they are.
Result<MachineState> initial_machine_state(const LoadedGuest& guest, const DeviceBus& bus);

}  // namespace stasis::guests
