#include "experiments/workload/footprint.h"

#include <algorithm>
#include <iterator>

namespace stasis::experiments {

Footprint footprint_of(const std::vector<std::uint64_t>& pages) {
  Footprint footprint{.pages = pages.size()};
  if (pages.empty()) {
    return footprint;
  }
  footprint.runs = 1;
  footprint.merged_runs = 1;
  footprint.merged_pages = pages.size();
  std::uint64_t small = 0;
  std::uint64_t small_pages = 0;
  for (std::size_t i = 1; i < pages.size(); ++i) {
    const std::uint64_t gap = pages[i] - pages[i - 1] - 1;
    if (gap == 0) {
      continue;
    }
    ++footprint.runs;
    if (gap <= kSmallGapMax) {
      ++small;
      small_pages += gap;
    }
    if (gap < kMergedGap) {
      footprint.merged_pages += gap;
    } else {
      ++footprint.merged_runs;
    }
  }
  const auto number = [](std::uint64_t value) { return static_cast<double>(value); };
  footprint.mean_run = number(footprint.pages) / number(footprint.runs);
  footprint.small_gap_share = footprint.runs > 1 ? number(small) / number(footprint.runs - 1) : 0;
  footprint.small_gap_mean = small > 0 ? number(small_pages) / number(small) : 0;
  return footprint;
}

Overlap overlap_of(const std::vector<std::uint64_t>& first,
                   const std::vector<std::uint64_t>& second) {
  std::vector<std::uint64_t> both;
  std::set_intersection(first.begin(), first.end(), second.begin(), second.end(),
                        std::back_inserter(both));
  return {.same = both.size(), .unique = second.size() - both.size()};
}

void add_metrics(const Footprint& footprint, std::map<std::string, double>& metrics) {
  metrics["working_set_pages"] = static_cast<double>(footprint.pages);
  metrics["runs"] = static_cast<double>(footprint.runs);
  metrics["mean_run_pages"] = footprint.mean_run;
  metrics["small_gap_share"] = footprint.small_gap_share;
  metrics["small_gap_mean_pages"] = footprint.small_gap_mean;
  metrics["merged_runs"] = static_cast<double>(footprint.merged_runs);
  metrics["merged_pages"] = static_cast<double>(footprint.merged_pages);
}

}  // namespace stasis::experiments
