// What a report draws of a run, as data: which cells, over which factor, in how many lines.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace stasis::experiments {

// A point that a paper has published, to be drawn beside the measured ones. Static data.
struct PaperPoint {
  std::string_view series;  // In the legend: "REAP, ASPLOS'21, Figure 7".
  double x = 0, y = 0;      // In the units of the factor and of the metric.
};

enum class Axis : std::uint8_t { kLinear, kLogarithmic };

// A line chart of medians with intervals: one line a level of `series_factor`, over the numbers
// that the levels of `x_factor` begin with. Cells whose levels hold none are left out. Static data.
struct Figure {
  std::string_view title;
  std::string_view caption;
  std::string_view cell_prefix;    // Of the cells that belong to it: "save/diff/".
  std::string_view x_factor;       // "dirty": "10 %", "50 %"
  std::string_view x_label;        // "dirty pages, % of memory"
  std::string_view series_factor;  // "tracker"
  std::string_view metric;         // "save_ns"
  Axis x_axis = Axis::kLinear, y_axis = Axis::kLinear;
  std::span<const PaperPoint> paper = {};
  // Of the cells: those with this level of this factor alone; empty: all.
  std::string_view where_factor = {}, where_level = {};
};

}  // namespace stasis::experiments
