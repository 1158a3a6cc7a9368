// Which pages one write fault makes writable.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "core/address.h"
#include "core/guest_memory.h"

namespace stasis::snapshot::internal {

// The naturally aligned unit of `chunk_bytes` (a power of two) around `gpa`, cut at the edges of
// its region; nothing where there is no RAM. Aligned by guest address rather than by offset in the
// region, so that 512 pages are a whole huge page.
inline std::optional<GpaRange> chunk_around(const GuestMemory& memory, Gpa gpa,
                                            std::uint64_t chunk_bytes) {
  for (const MemoryRegion& region : memory.regions()) {
    if (!region.range.contains(gpa)) {
      continue;
    }
    const std::uint64_t low = align_down(gpa.value, chunk_bytes);
    const Gpa begin = std::max(Gpa{low}, region.range.begin);
    // Compared as distances: the unit's end may be 2^64.
    const std::uint64_t to_chunk_end = chunk_bytes - (begin.value - low);
    const std::uint64_t to_region_end =
        region.range.size - (begin.value - region.range.begin.value);
    return GpaRange{begin, std::min(to_chunk_end, to_region_end)};
  }
  return std::nullopt;
}

}  // namespace stasis::snapshot::internal
