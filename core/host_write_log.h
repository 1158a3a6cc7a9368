// Which pages the host itself wrote: devices, loader, hypercalls. The half of "dirty" that a guest
// dirty log cannot see.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/address.h"
#include "core/ranges.h"

namespace stasis {

// One bit a page. Thread-safe: mark() is a relaxed atomic OR (the reader synchronises with writers
// by pausing the Machine, which orders the bits with the bytes).
class HostWriteLog {
 public:
  // `ranges` are page multiples, sorted and disjoint.
  HostWriteLog(std::span<const GpaRange> ranges, std::uint64_t page_size_bytes);

  // Marks every page that [begin, begin + size) touches; parts outside the ranges are ignored.
  void mark(GpaRange range) noexcept;
  // The marked pages, and forgets them.
  GpaRanges collect();
  void clear() noexcept;

 private:
  struct Section {
    GpaRange range;
    std::unique_ptr<std::atomic<std::uint64_t>[]> words;
    std::uint64_t word_count = 0;
  };
  std::vector<Section> sections_;
  std::uint64_t page_size_bytes_;
};

}  // namespace stasis
