// Pieces of guest memory as trackers need them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/address.h"
#include "core/guest_memory.h"
#include "core/ranges.h"

namespace stasis::snapshot::internal {

// What one write fault makes writable: the naturally aligned unit of `chunk_bytes` (a power of two)
// around `gpa`, cut at the edges of its region; nothing where there is no RAM. Aligned by guest
// address rather than by offset in the region, so that 512 pages are a whole huge page.
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

// The same bytes, cut where one region ends and an adjacent one begins: a normalized range may span
// both, but each has its own mapping.
inline std::vector<GpaRange> split_by_region(const GuestMemory& memory, const GpaRanges& ranges) {
  std::vector<GpaRange> pieces;
  for (const MemoryRegion& region : memory.regions()) {
    const GpaRanges inside = intersect(ranges, {region.range});
    pieces.insert(pieces.end(), inside.begin(), inside.end());
  }
  return pieces;
}

}  // namespace stasis::snapshot::internal
