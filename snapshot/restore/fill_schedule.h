// Which parts of which payloads an eager fill reads, in which order. Private to snapshot/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "snapshot/restore/plan.h"

namespace stasis::snapshot::internal {

// More threads than this would make areas smaller than a huge page, or windows more than the fill
// may map at a time.
inline constexpr std::size_t kFillThreadsMax = 24;

// A part of one extent, at most one area of memory. Value; borrows from the plan.
struct FillJob {
  const SourceExtent* source = nullptr;
  GpaRange range;  // Inside source->range.
};

// The jobs of a plan in address order, and where each area's begin. An area is what one thread
// fills at a time.
struct FillSchedule {
  std::vector<FillJob> jobs;
  std::vector<std::size_t> area_starts;  // Indices into jobs; one more at the end.
  std::uint64_t area_bytes = 0;          // Of guest memory; a power of two.

  [[nodiscard]] std::span<const FillJob> area(std::size_t index) const {
    return std::span(jobs).subspan(area_starts[index], area_starts[index + 1] - area_starts[index]);
  }
};

// Borrows from `plan`, which must outlive the schedule. No chunk is cut at the end of an area.
FillSchedule make_schedule(const RestorePlan& plan);

}  // namespace stasis::snapshot::internal
