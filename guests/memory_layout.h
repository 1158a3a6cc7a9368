// How much RAM a bare guest gets, and where (docs/guest-abi.md, "Memory map").
#pragma once

#include <cstdint>
#include <vector>

#include "core/guest_memory.h"
#include "core/result.h"

namespace stasis::guests {

// What lies behind each region. Value.
struct MemoryOptions {
  BackingKind backing = BackingKind::kAnonymous;  // Not a file.
  HugePages huge_pages = HugePages::kTransparent;
};

// The regions of a guest with `size_bytes` of RAM: one from 0, and what exceeds 3 GiB from 4 GiB
// on. kInvalidArgument, naming the limits, below abi::kMemoryBytesMin, above abi::kMemoryBytesMax
// or not a multiple of abi::kMemoryUnitBytes.
Result<std::vector<RegionSpec>> guest_memory_regions(std::uint64_t size_bytes,
                                                     const MemoryOptions& options = {});

}  // namespace stasis::guests
