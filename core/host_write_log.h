// Which pages the host itself wrote: devices, loader, hypercalls. The half of "dirty" that a guest
// dirty log cannot see.
#pragma once

#include <cstdint>
#include <cstdlib>
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

  // Marks every page that `range` touches (it must not wrap); parts outside the ranges are ignored.
  void mark(GpaRange range) noexcept;
  // The marked pages, and forgets them.
  GpaRanges collect();
  void clear() noexcept;

 private:
  // From calloc(): the words of a large guest cost nothing until a page is marked, so that creating
  // a log takes the same time for every guest size. They are accessed through std::atomic_ref.
  struct FreeWords {
    void operator()(std::uint64_t* words) const noexcept { std::free(words); }
  };
  struct Section {
    GpaRange range;
    std::unique_ptr<std::uint64_t[], FreeWords> words;
    std::uint64_t word_count = 0;
  };
  std::vector<Section> sections_;
  std::uint64_t page_size_bytes_;
};

}  // namespace stasis
