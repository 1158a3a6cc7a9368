// What can be said of the pages that an input touched: the closed loop of the generator, and of
// real functions. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace stasis::experiments {

// Gaps of at most so many pages are those inside a cluster.
inline constexpr std::uint64_t kSmallGapMax = 16;
// FaaSnap merges regions that are less apart.
inline constexpr std::uint64_t kMergedGap = 32;

// Value.
struct Footprint {
  std::uint64_t pages = 0, runs = 0;
  double mean_run = 0;
  double small_gap_share = 0;      // Of the gaps: those of at most kSmallGapMax pages.
  double small_gap_mean = 0;       // Pages of such a gap.
  std::uint64_t merged_runs = 0;   // Runs when gaps below kMergedGap are closed...
  std::uint64_t merged_pages = 0;  // ...and their pages, gaps included.
};
// `pages` are numbers, ascending, each once.
Footprint footprint_of(const std::vector<std::uint64_t>& pages);

// Two inputs: how many pages both touch, and how many only the second. Ascending, each once.
struct Overlap {
  std::uint64_t same = 0, unique = 0;
};
Overlap overlap_of(const std::vector<std::uint64_t>& first,
                   const std::vector<std::uint64_t>& second);

// As metrics of a row.
void add_metrics(const Footprint& footprint, std::map<std::string, double>& metrics);

}  // namespace stasis::experiments
