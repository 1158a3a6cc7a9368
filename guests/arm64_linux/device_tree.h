// The flattened device tree that tells an arm64 Linux kernel what its machine has.
// Source: Devicetree Specification 0.4, and the bindings of Linux, Documentation/devicetree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/address.h"
#include "core/result.h"

namespace stasis::guests::arm64 {

// Value.
struct MachineDescription {
  GpaRange ram = {};
  std::vector<std::uint64_t> cpus;  // Affinities: MPIDR_EL1 without its other fields.
  std::string command_line;
  std::optional<GpaRange> initrd = {};
  std::vector<std::byte> seed = {};  // For the kernel's random numbers; not empty.
  std::uint32_t virtio_devices = 0;  // At memory_map.h's windows.
};

// kOutOfRange, naming the limit, when it does not fit into `bytes_max`.
Result<std::vector<std::byte>> make_device_tree(const MachineDescription& machine,
                                                std::size_t bytes_max);

}  // namespace stasis::guests::arm64
