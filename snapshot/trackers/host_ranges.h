// From pieces of the host's address space to guest pages.
#pragma once

#include <cstdint>
#include <span>

#include "core/guest_memory.h"
#include "core/ranges.h"

namespace stasis::snapshot::internal {

inline std::span<std::byte> host_bytes(const MemoryRegion& region, GpaRange range) {
  return {region.host + (range.begin.value - region.range.begin.value), range.size};
}

// `pieces` lie in `region`. Whole guest pages: the host's may be smaller.
inline GpaRanges guest_pages(const MemoryRegion& region,
                             std::span<const std::span<std::byte>> pieces,
                             std::uint64_t page_bytes) {
  GpaRanges ranges;
  for (const std::span<std::byte>& piece : pieces) {
    const auto offset = static_cast<std::uint64_t>(piece.data() - region.host);
    ranges.push_back({region.range.begin + offset, piece.size()});
  }
  return align_outward(ranges, page_bytes);
}

}  // namespace stasis::snapshot::internal
