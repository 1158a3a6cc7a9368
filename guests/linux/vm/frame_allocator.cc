#include "guests/linux/vm/frame_allocator.h"

#include <algorithm>
#include <iterator>

#include "guests/linux/address_space.h"
#include "guests/linux/vm/layout.h"

namespace stasis::linux_guest::vm {

FrameAllocator::FrameAllocator(const GpaRanges& free) {
  for (const GpaRange& range : free) {
    release(range);
  }
}

void FrameAllocator::take(std::map<std::uint64_t, std::uint64_t>::iterator extent, GpaRange range) {
  const std::uint64_t begin = extent->first;
  const std::uint64_t end = begin + extent->second;
  extents_.erase(extent);
  if (range.begin.value > begin) {
    extents_.emplace(begin, range.begin.value - begin);
  }
  if (range.end().value < end) {
    extents_.emplace(range.end().value, end - range.end().value);
  }
  free_bytes_ -= range.size;
}

std::optional<GpaRange> FrameAllocator::allocate(std::uint64_t pages) {
  const std::uint64_t wanted = std::max<std::uint64_t>(pages, 1) * kPageBytes;
  auto best = extents_.end();
  for (auto extent = extents_.begin(); extent != extents_.end(); ++extent) {
    if (extent->second >= wanted) {
      best = extent;
      break;
    }
    if (best == extents_.end() || extent->second > best->second) {
      best = extent;
    }
  }
  if (best == extents_.end()) {
    return std::nullopt;
  }
  const GpaRange range{Gpa{best->first}, std::min(best->second, wanted)};
  take(best, range);
  return range;
}

std::optional<Gpa> FrameAllocator::allocate_huge() {
  for (auto extent = extents_.rbegin(); extent != extents_.rend(); ++extent) {
    const std::uint64_t end = align_down(extent->first + extent->second, layout::kHugePageBytes);
    if (end >= layout::kHugePageBytes && end - layout::kHugePageBytes >= extent->first) {
      const GpaRange range{Gpa{end - layout::kHugePageBytes}, layout::kHugePageBytes};
      take(std::prev(extent.base()), range);
      return range.begin;
    }
  }
  return std::nullopt;
}

void FrameAllocator::release(GpaRange range) {
  auto next = extents_.lower_bound(range.begin.value);
  const bool overlaps_next = next != extents_.end() && next->first < range.end().value;
  const bool has_previous = next != extents_.begin();
  auto previous = has_previous ? std::prev(next) : extents_.end();
  const bool overlaps_previous =
      has_previous && previous->first + previous->second > range.begin.value;
  if (range.size == 0 || overlaps_next || overlaps_previous) {
    return;
  }
  free_bytes_ += range.size;
  std::uint64_t begin = range.begin.value;
  std::uint64_t end = range.end().value;
  if (next != extents_.end() && next->first == end) {
    end += next->second;
    extents_.erase(next);
  }
  if (has_previous && previous->first + previous->second == begin) {
    begin = previous->first;
    extents_.erase(previous);
  }
  extents_.emplace(begin, end - begin);
}

GpaRanges FrameAllocator::free_ranges() const {
  GpaRanges ranges;
  ranges.reserve(extents_.size());
  for (const auto& [begin, size] : extents_) {
    ranges.push_back({Gpa{begin}, size});
  }
  return ranges;
}

}  // namespace stasis::linux_guest::vm
