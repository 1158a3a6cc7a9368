// What is brought in before it is touched: recorded pages, in the order and by the means that the
// policy names.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "snapshot/policies/steps.h"

namespace stasis::snapshot::internal {
namespace {

// The record in the wanted order; nothing if there is none.
std::optional<std::vector<PopulatePiece>> recorded(PrefetchOrder order, const PlanInput& input,
                                                   RestorePlan& plan) {
  if (order == PrefetchOrder::kAccess && input.trace) {
    return input.trace;
  }
  std::optional<std::vector<PopulatePiece>> pieces = input.touched ? input.touched : input.trace;
  if (!pieces) {
    plan.notes.emplace_back("no working set is recorded, so nothing is brought in beforehand");
    return pieces;
  }
  if (order == PrefetchOrder::kAccess) {
    plan.notes.emplace_back("no access trace is recorded, so pages are taken by address");
  }
  std::stable_sort(pieces->begin(), pieces->end(), [&](const auto& a, const auto& b) {
    if (order == PrefetchOrder::kWritten && a.access != b.access) {
      return a.access == PopulateFor::kWriting;
    }
    return a.range.begin < b.range.begin;
  });
  return pieces;
}

// Recorded where pages are smaller than here.
void leave_out_partial_pages(std::uint64_t host_page_bytes, std::vector<PopulatePiece>& pieces,
                             RestorePlan& plan) {
  const std::size_t all = pieces.size();
  const std::size_t left_out = std::erase_if(pieces, [&](const PopulatePiece& piece) {
    return !is_aligned(piece.range.begin.value, host_page_bytes) ||
           !is_aligned(piece.range.size, host_page_bytes);
  });
  if (left_out != 0) {
    plan.notes.push_back(std::to_string(left_out) + " of " + std::to_string(all) +
                         " recorded runs are no whole pages of this host");
  }
}

// Neighbours of one region that follow one another are fetched as one.
std::vector<GpaRange> joined(const std::vector<PopulatePiece>& pieces,
                             const std::vector<ManifestRegion>& regions) {
  const auto begins_region = [&](Gpa gpa) {
    return std::any_of(regions.begin(), regions.end(),
                       [&](const ManifestRegion& region) { return region.range.begin == gpa; });
  };
  std::vector<GpaRange> ranges;
  for (const PopulatePiece& piece : pieces) {
    if (!ranges.empty() && ranges.back().end() == piece.range.begin &&
        !begins_region(piece.range.begin)) {
      ranges.back().size += piece.range.size;
    } else {
      ranges.push_back(piece.range);
    }
  }
  return ranges;
}

FetchBy fetch_by(PrefetchBy by) {
  switch (by) {
    case PrefetchBy::kPageCache:
      return FetchBy::kPageCache;
    case PrefetchBy::kMove:
      return FetchBy::kMove;
    case PrefetchBy::kCopy:
    case PrefetchBy::kPopulate:  // Not fetched.
      break;
  }
  return FetchBy::kCopy;
}

}  // namespace

void add_prefetch(const PrefetchSpec& prefetch, const PlanInput& input, RestorePlan& plan) {
  std::optional<std::vector<PopulatePiece>> pieces = recorded(prefetch.order, input, plan);
  if (!pieces) {
    return;
  }
  leave_out_partial_pages(input.host_page_size_bytes, *pieces, plan);
  if (prefetch.by == PrefetchBy::kPopulate) {
    plan.populate = *std::move(pieces);
    return;
  }
  plan.fetch = Fetch{.ranges = joined(*pieces, input.regions),
                     .by = fetch_by(prefetch.by),
                     .read = prefetch.read,
                     .threads = prefetch.threads,
                     .concurrent = prefetch.when == PrefetchWhen::kConcurrent};
}

}  // namespace stasis::snapshot::internal
