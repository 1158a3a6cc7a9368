// The floor of putting pages back: memcpy of the same pages, as far apart, between two mappings
// that nobody else uses.
#pragma once

#include <cstdint>
#include <utility>

#include "core/ranges.h"
#include "core/result.h"
#include "experiments/floor/fresh_memory.h"

namespace stasis::experiments {

// Resource. Holds two pages of 4 KiB for each that was ever copied.
class PageCopies {
 public:
  // For pages of `memory`, which is not empty. kIo if the host cannot reserve twice its span.
  static Result<PageCopies> create(const GpaRanges& memory);

  // Copies `pages`, which lie in that memory; both sides exist before the clock starts.
  std::int64_t copy_ns(const GpaRanges& pages);

 private:
  PageCopies(Gpa begin, FreshMemory source, FreshMemory target)
      : begin_(begin), source_(std::move(source)), target_(std::move(target)) {}
  Gpa begin_;
  FreshMemory source_, target_;
};

}  // namespace stasis::experiments
