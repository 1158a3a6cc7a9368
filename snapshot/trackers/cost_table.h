// What dirty trackers cost in nanoseconds: measured here, or built in. What "auto" decides by.
// Pure.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace stasis::snapshot {

// Of pages of 4 KiB. Which pages the per-page costs count says the tracker's model
// (trackers/tracker_models.h). Value.
struct CostModel {
  double arm_ns = 0, arm_page_ns = 0;  // Whatever the memory; for each page.
  double first_write_ns = 0;           // What the first write to a page takes longer than others.
  // Collecting, which arms again in the same step: whatever the memory; for each page; for each
  // page that was written.
  double collect_ns = 0, collect_page_ns = 0, collect_dirty_ns = 0;
  friend bool operator==(const CostModel&, const CostModel&) = default;
};

// More than anything here can take; a larger figure is a mistake.
inline constexpr double kCostMaxNs = 60e9;
// Whether every figure is one from 0 to kCostMaxNs.
bool is_plausible(const CostModel& costs);

// Value.
struct CostTable {
  std::string source = {};  // Where the figures are from, as a part of a sentence: "built in, ...".
  std::vector<std::pair<std::string, CostModel>> trackers = {};  // By name.
  // Null if there is none, or not a plausible one.
  [[nodiscard]] const CostModel* find(std::string_view name) const;
  friend bool operator==(const CostTable&, const CostTable&) = default;
};

// Measured on one host (the source says which): right in their ratios rather than in themselves.
const CostTable& builtin_costs();

// What was measured with one tracker: all of it pages of 4 KiB. Value.
struct CostSample {
  double memory_pages = 0;  // Of the guest, all of them resident.
  double dirty_pages = 0;
  double arm_ns = 0;
  double slowdown_ns = 0;  // Of all first writes together; may be negative by chance.
  double collect_ns = 0;
};
// The model through medians of four corners: two sizes of memory, in each few and many pages
// written. What comes out negative, by chance, is 0. Pure.
CostModel fit_costs(const CostSample& small_few, const CostSample& small_many,
                    const CostSample& large_few, const CostSample& large_many);

}  // namespace stasis::snapshot
