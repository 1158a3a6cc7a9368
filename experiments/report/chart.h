// Charts as inline SVG, coloured by the page that they stand in (report/html_page.h). Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/harness/figure.h"
#include "experiments/stats/bootstrap.h"

namespace stasis::experiments {

// Value.
struct ChartPoint {
  double x = 0;
  Interval y;
};
struct ChartSeries {
  std::string name;
  std::vector<ChartPoint> points;  // By ascending x.
  bool is_published = false;       // A paper's: points without a line.
  bool is_dense = false;           // A line without points.
  std::size_t style = 0;           // Colour, mark and dash: those of one name should be the same.
};

// Value. `metric` decides the unit of y.
struct LineChart {
  std::string title, x_label, metric;
  Axis x_axis = Axis::kLinear, y_axis = Axis::kLinear;
  std::vector<ChartSeries> series;
  bool is_x_metric = false;  // x is of the metric and y a share of 1: a distribution.
};
// Empty for a chart without a point.
std::string render(const LineChart& chart);

// Rows of parts that add up, on a common scale from 0. Value.
struct StackedBars {
  std::string title, metric;
  std::vector<std::string> parts;
  struct Row {
    std::string name;
    std::vector<double> values;  // One a part, not negative.
  };
  std::vector<Row> rows;
};
std::string render(const StackedBars& bars);

// Ratios with their intervals around 1, on a logarithmic scale. Value.
struct ForestPlot {
  std::string title;
  double threshold = 0;  // A band from 1 - threshold to 1 + threshold.
  struct Row {
    std::string name;
    Interval ratio;
    std::string_view style;  // "fail", "pass" or "na".
  };
  std::vector<Row> rows;
};
std::string render(const ForestPlot& plot);

// Text between tags and in attributes.
std::string escaped(std::string_view text);
// Of the n-th line or part: "s0", "s1", ... and then again from the first.
std::string series_class(std::size_t index);

}  // namespace stasis::experiments
