#include "experiments/floor/page_copies.h"

#include <cstring>
#include <utility>

#include "core/clock.h"

namespace stasis::experiments {

Result<PageCopies> PageCopies::create(const GpaRanges& memory) {
  const Gpa begin = memory.front().begin;
  const std::uint64_t span = memory.back().end().value - begin.value;
  STASIS_ASSIGN(FreshMemory source, FreshMemory::map(Backing::kSmallPages, span));
  STASIS_ASSIGN(FreshMemory target, FreshMemory::map(Backing::kSmallPages, span));
  return PageCopies(begin, std::move(source), std::move(target));
}

std::int64_t PageCopies::copy_ns(const GpaRanges& pages) {
  const auto part = [this](const FreshMemory& memory, GpaRange range) {
    return memory.bytes().subspan(range.begin.value - begin_.value, range.size);
  };
  for (const GpaRange& range : pages) {
    std::memset(part(source_, range).data(), 1, range.size);
    std::memset(part(target_, range).data(), 2, range.size);
  }
  const MonotonicNs begin = host_clock().now();
  for (const GpaRange& range : pages) {
    std::memcpy(part(target_, range).data(), part(source_, range).data(), range.size);
  }
  return host_clock().now() - begin;
}

}  // namespace stasis::experiments
