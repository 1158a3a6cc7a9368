// Puts an arm64 Linux kernel, its initramfs and a device tree into guest RAM and makes the vCPU
// states that start it. Source: Linux, Documentation/arm64/booting.rst.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/guest_memory.h"
#include "core/machine.h"
#include "core/result.h"
#include "guests/memory_layout.h"

namespace stasis::guests::arm64 {

// Value. Bytes are borrowed for the call.
struct LinuxBoot {
  std::span<const std::byte> kernel, initrd;  // The files; an empty initrd: none.
  std::string kernel_name = "kernel", initrd_name = "initramfs";  // For messages.
  std::string command_line;  // At most kCommandLineBytesMax bytes, no NUL.
  std::uint32_t vcpus = 1;
  std::vector<std::byte> seed = {};  // For the kernel's random numbers; empty: none.
  std::uint32_t virtio_devices = 0;

  static constexpr std::size_t kCommandLineBytesMax = 2047;
};

// The RAM of such a guest. kInvalidArgument, naming the limits, for a size that it cannot have.
Result<std::vector<RegionSpec>> linux_memory_regions(std::uint64_t size_bytes,
                                                     const MemoryOptions& options = {});

// The affinity of a vCPU, as the backend numbers them: MPIDR_EL1 without its other fields.
constexpr std::uint64_t affinity_of_vcpu(std::uint32_t index) {
  return std::uint64_t{index / 16} << 8U | index % 16;
}

// Validates all, then writes: the kernel at the beginning of RAM, the initramfs behind it, the
// device tree at the end. `memory` is fresh and has linux_memory_regions(). The first vCPU is about
// to execute the kernel, the others are off. Errors name the file: as parse_linux_image();
// kOutOfRange, naming the sizes, when something does not fit; kInvalidArgument for the command line
// and an initramfs that is none.
Result<std::vector<VcpuState>> load_linux(const LinuxBoot& boot, GuestMemory& memory);

}  // namespace stasis::guests::arm64
