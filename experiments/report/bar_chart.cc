#include "experiments/report/bar_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "experiments/report/chart.h"
#include "experiments/report/format.h"

namespace stasis::experiments {

const MetricSummary* headline_of(const CellSummary& cell) {
  const auto found = cell.metrics.find(cell.cell.headline);
  return found == cell.metrics.end() ? nullptr : &found->second;
}

std::string group_of(const std::string& id) {
  const std::size_t first = id.find('/');
  const std::size_t second = first == std::string::npos ? first : id.find('/', first + 1);
  return id.starts_with("floor/") ? "floor" : id.substr(0, second);
}

namespace {

// Horizontal bars of one group on a common scale that begins at zero, with the interval as a line
// and the floor as a grey bar below.
class BarChart {
 public:
  explicit BarChart(std::vector<const CellSummary*> cells) : cells_(std::move(cells)) {
    for (const CellSummary* cell : cells_) {
      greatest_ = std::max(greatest_, headline_of(*cell)->median.high);
    }
  }

  [[nodiscard]] std::string render(const std::string& title) const {
    const double height = kTop + kRow * static_cast<double>(cells_.size()) + 8;
    std::string svg = fmt::format(
        R"(<svg class="rows" viewBox="0 0 {} {}" role="img" aria-label="{}: medians with 95 % intervals">)",
        kWidth, height, escaped(title));
    double y = kTop;
    for (const CellSummary* cell : cells_) {
      svg += bar(*cell, y);
      y += kRow;
    }
    return svg + "</svg>\n";
  }

 private:
  static constexpr double kWidth = 960, kLabel = 330, kValue = 150, kRow = 26, kTop = 6;

  [[nodiscard]] double length(double value) const {
    return greatest_ <= 0 ? 0 : std::max(0.0, value) / greatest_ * (kWidth - kLabel - kValue);
  }

  [[nodiscard]] std::string bar(const CellSummary& cell, double y) const {
    const MetricSummary& metric = *headline_of(cell);
    const std::string& name = cell.cell.headline;
    const double end = kLabel + length(metric.median.estimate);
    std::string svg =
        fmt::format(R"(<text x="{:.0f}" y="{:.1f}" text-anchor="end">{}</text>)"
                    R"(<rect class="bar" x="{}" y="{:.1f}" width="{:.1f}" height="13"/>)",
                    kLabel - 8, y + 13, escaped(cell.cell.id), kLabel, y + 2, end - kLabel);
    if (cell.times_floor && cell.times_floor->estimate > 0) {
      svg +=
          fmt::format(R"(<rect class="floorbar" x="{}" y="{:.1f}" width="{:.1f}" height="4"/>)",
                      kLabel, y + 16, length(metric.median.estimate / cell.times_floor->estimate));
    }
    svg += fmt::format(
        R"(<line class="whisker" x1="{0:.1f}" x2="{1:.1f}" y1="{2:.1f}" y2="{2:.1f}"/>)",
        kLabel + length(metric.median.low), kLabel + length(metric.median.high), y + 8.5);
    const std::string times =
        cell.times_floor ? ", " + format_ratio(cell.times_floor->estimate) : std::string();
    svg += fmt::format(R"(<text x="{:.1f}" y="{:.1f}">{}{}</text>)",
                       kLabel + length(metric.median.high) + 6, y + 13,
                       format_value(name, metric.median.estimate), times);
    return svg;
  }

  std::vector<const CellSummary*> cells_;
  double greatest_ = 0;
};

}  // namespace

std::string bar_charts(std::span<const CellSummary> cells) {
  std::vector<std::string> order;
  std::map<std::string, std::vector<const CellSummary*>> groups;
  for (const CellSummary& cell : cells) {
    if (headline_of(cell) == nullptr) {
      continue;
    }
    const std::string group = group_of(cell.cell.id);
    if (!groups.contains(group)) {
      order.push_back(group);
    }
    groups[group].push_back(&cell);
  }
  std::string html;
  for (const std::string& group : order) {
    html += fmt::format("<h3>{}</h3>\n<div class=\"scroll\">{}</div>\n", escaped(group),
                        BarChart(groups[group]).render(group));
  }
  return html;
}

}  // namespace stasis::experiments
