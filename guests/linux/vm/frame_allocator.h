// Which frames of guest RAM are free.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "core/address.h"
#include "core/ranges.h"

namespace stasis::linux_guest::vm {

// Free guest RAM as a list of extents, merged as it comes back. Small runs are taken from the
// bottom and huge frames from the top, so that the two do not break each other up. Value.
class FrameAllocator {
 public:
  FrameAllocator() = default;
  // `free` are page multiples, all of them zero pages; nothing else is ever handed out.
  explicit FrameAllocator(const GpaRanges& free);

  // Up to `pages` contiguous frames, at least one; nothing when RAM is used up. The first extent
  // that holds all of them, else the longest.
  std::optional<GpaRange> allocate(std::uint64_t pages);
  // A 2 MiB multiple, aligned; nothing when there is none.
  std::optional<Gpa> allocate_huge();
  // Takes back what was allocated. What is free already is ignored: page tables of a damaged
  // snapshot may name a frame twice.
  void release(GpaRange range);

  [[nodiscard]] std::uint64_t free_bytes() const { return free_bytes_; }
  [[nodiscard]] GpaRanges free_ranges() const;

 private:
  void take(std::map<std::uint64_t, std::uint64_t>::iterator extent, GpaRange range);

  std::map<std::uint64_t, std::uint64_t> extents_;  // Begin to size, in bytes.
  std::uint64_t free_bytes_ = 0;
};

}  // namespace stasis::linux_guest::vm
