#include "snapshot/restore/fill_schedule.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <variant>

#include "snapshot/manifest.h"

namespace stasis::snapshot::internal {
namespace {

constexpr std::uint64_t kHugePageBytes = std::uint64_t{2} << 20U;  // And the largest chunk.
constexpr std::uint64_t kAreaBytesMax = std::uint64_t{8} << 20U;
constexpr std::uint64_t kWindowsBytesMax = std::uint64_t{48} << 20U;  // Of all threads together.
static_assert(kFillThreadsMax == kWindowsBytesMax / kHugePageBytes);

// Smaller areas for many threads keep the sum of all windows bounded.
std::uint64_t area_bytes_for(std::uint32_t threads) {
  const std::uint64_t share = std::bit_floor(kWindowsBytesMax / threads);
  return std::clamp(share, kHugePageBytes, kAreaBytesMax);
}

// Cuts a step at multiples of `area_bytes`, a power of two. No chunk is cut: chunks end at
// multiples of their own size, which is at most that of the smallest area.
void append_jobs(const SourceExtent& source, std::uint64_t area_bytes, std::vector<FillJob>& jobs) {
  const std::uint64_t areas = chunk_count_of(source.range, area_bytes);
  for (std::uint64_t i = 0; i < areas; ++i) {
    jobs.push_back({&source, chunk_range_of(source.range, i, area_bytes)});
  }
}

}  // namespace

FillSchedule make_schedule(const RestorePlan& plan) {
  const std::uint64_t area_bytes = area_bytes_for(plan.threads);
  FillSchedule schedule;
  schedule.area_bytes = area_bytes;
  for (const RestoreStep& step : plan.steps) {
    const SourceExtent* source = nullptr;
    if (const auto* read = std::get_if<ReadInto>(&step)) {
      source = &read->source;
    } else if (const auto* decompress = std::get_if<DecompressInto>(&step)) {
      source = &decompress->source;
    }
    if (source != nullptr) {
      append_jobs(*source, area_bytes, schedule.jobs);
    }
  }
  std::sort(schedule.jobs.begin(), schedule.jobs.end(),
            [](const FillJob& a, const FillJob& b) { return a.range.begin < b.range.begin; });
  std::optional<std::uint64_t> area;
  for (std::size_t i = 0; i < schedule.jobs.size(); ++i) {
    const std::uint64_t here = schedule.jobs[i].range.begin.value / area_bytes;
    if (area != here) {
      area = here;
      schedule.area_starts.push_back(i);
    }
  }
  schedule.area_starts.push_back(schedule.jobs.size());
  return schedule;
}

}  // namespace stasis::snapshot::internal
