#include "experiments/report/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>
#include <map>
#include <system_error>
#include <utility>

#include "experiments/harness/evaluator.h"
#include "experiments/report/bar_chart.h"

namespace stasis::experiments {
namespace {

constexpr const char* kMemory = "memory";

// The end of a milestone's name in rows, and what happens until then.
struct Phase {
  std::string_view metric, name;
};
constexpr std::array<Phase, 8> kPhases = {{{"header_ns", "read the manifest"},
                                           {"vm_created_ns", "make the VM"},
                                           {"mapped_ns", "map memory"},
                                           {"state_ns", "load vCPU and devices"},
                                           {"prefetched_ns", "fill memory"},
                                           {"vcpu_enter_ns", "enter the guest"},
                                           {"first_instruction_ns", "first instruction"},
                                           {"first_response_ns", "first response"}}};

// A line while it is made. Two sizes of memory are two lines.
struct Line {
  ChartSeries series;
  std::string memory;
};

bool has_several_memories(const std::vector<Line>& lines) {
  return std::any_of(lines.begin(), lines.end(),
                     [&](const Line& line) { return line.memory != lines.front().memory; });
}

}  // namespace

std::optional<double> leading_number(std::string_view level) {
  double value = 0;
  const auto [end, failed] = std::from_chars(level.data(), level.data() + level.size(), value);
  return failed == std::errc{} ? std::optional(value) : std::nullopt;
}

ReportFigure make_figure(const Figure& figure, std::span<const CellSummary> cells) {
  ReportFigure made{.title = std::string(figure.title),
                    .caption = std::string(figure.caption),
                    .chart = {.title = std::string(figure.title),
                              .x_label = std::string(figure.x_label),
                              .metric = std::string(figure.metric),
                              .x_axis = figure.x_axis,
                              .y_axis = figure.y_axis,
                              .series = {}}};
  std::vector<Line> lines;
  for (const CellSummary& cell : cells) {
    const Factors& factors = cell.cell.factors;
    const auto metric = cell.metrics.find(std::string(figure.metric));
    const auto x = leading_number(level_of(factors, std::string(figure.x_factor)));
    const std::string name = level_of(factors, std::string(figure.series_factor));
    const bool is_elsewhere =
        !figure.where_factor.empty() &&
        level_of(factors, std::string(figure.where_factor)) != figure.where_level;
    if (is_elsewhere || !cell.cell.id.starts_with(figure.cell_prefix) ||
        metric == cell.metrics.end() || !x || name.empty()) {
      continue;
    }
    const std::string memory =
        figure.x_factor == kMemory ? std::string() : level_of(factors, kMemory);
    auto line = std::find_if(lines.begin(), lines.end(), [&](const Line& each) {
      return each.series.name == name && each.memory == memory;
    });
    if (line == lines.end()) {
      lines.push_back({.series = {.name = name, .points = {}}, .memory = memory});
      line = std::prev(lines.end());
    }
    line->series.points.push_back({.x = *x, .y = metric->second.median});
  }
  std::size_t most = 0;
  for (Line& line : lines) {
    std::vector<ChartPoint>& points = line.series.points;
    std::stable_sort(points.begin(), points.end(),
                     [](const ChartPoint& a, const ChartPoint& b) { return a.x < b.x; });
    most = std::max(most, points.size());
  }
  // Two sizes of memory are for a check; a line of two points among longer ones says little.
  std::erase_if(lines, [most](const Line& line) {
    return line.series.points.size() <= 2 && line.series.points.size() < most;
  });
  const bool names_memory = has_several_memories(lines);
  for (Line& line : lines) {
    line.series.name += names_memory ? ", " + line.memory : std::string();
    made.chart.series.push_back(std::move(line.series));
  }
  std::map<std::string, ChartSeries> published;
  for (const PaperPoint& point : figure.paper) {
    ChartSeries& series = published[std::string(point.series)];
    series.name = point.series;
    series.is_published = true;
    series.points.push_back(
        {.x = point.x, .y = {.estimate = point.y, .low = point.y, .high = point.y}});
  }
  if (!made.chart.series.empty()) {
    for (auto& [name, series] : published) {
      made.chart.series.push_back(std::move(series));
    }
  }
  return made;
}

void share_styles(std::vector<ReportFigure>& figures) {
  std::map<std::string, std::size_t> styles;
  for (ReportFigure& figure : figures) {
    for (ChartSeries& series : figure.chart.series) {
      series.style = styles.try_emplace(series.name, styles.size()).first->second;
    }
  }
}

StackedBars phases_of(std::span<const CellSummary> cells) {
  StackedBars bars{.title =
                       "Medians of the milestones since the restore was asked for, one after the "
                       "other.",
                   .metric = "phase_ns",
                   .parts = {},
                   .rows = {}};
  for (const Phase& phase : kPhases) {
    bars.parts.emplace_back(phase.name);
  }
  for (const CellSummary& cell : cells) {
    if (!cell.metrics.contains("first_response_ns") || !cell.metrics.contains("vcpu_enter_ns")) {
      continue;
    }
    StackedBars::Row row{.name = cell.cell.id, .values = {}};
    double before = 0;
    for (const Phase& phase : kPhases) {
      const auto metric = cell.metrics.find(std::string(phase.metric));
      const double at =
          metric == cell.metrics.end() ? before : std::max(before, metric->second.median.estimate);
      row.values.push_back(at - before);
      before = at;
    }
    bars.rows.push_back(std::move(row));
  }
  return bars;
}

std::vector<ReportFigure> distributions_of(const Plan& plan, const RowTable& table,
                                           std::size_t lines_max) {
  std::vector<ReportFigure> figures;
  std::map<std::string, std::size_t> index;
  for (const Cell& cell : plan.cells) {
    std::vector<double> values = table.values(cell.id, cell.headline);
    if (values.size() < 2) {
      continue;
    }
    std::sort(values.begin(), values.end());
    const std::string group = group_of(cell.id);
    if (index.try_emplace(group, figures.size()).second) {
      figures.push_back({.title = group,
                         .caption = {},
                         .chart = {.title = group,
                                   .x_label = cell.headline,
                                   .metric = cell.headline,
                                   .x_axis = Axis::kLogarithmic,
                                   .series = {},
                                   .is_x_metric = true}});
    }
    LineChart& chart = figures[index[group]].chart;
    if (chart.series.size() == lines_max || values.front() <= 0 || chart.metric != cell.headline) {
      continue;
    }
    ChartSeries series{.name = cell.id.substr(std::min(group.size() + 1, cell.id.size() - 1)),
                       .points = {},
                       .is_dense = true,
                       .style = chart.series.size()};
    const auto share = [&](std::size_t count) {
      const double value = static_cast<double>(count) / static_cast<double>(values.size());
      return Interval{.estimate = value, .low = value, .high = value};
    };
    for (std::size_t i = 0; i < values.size(); ++i) {
      series.points.push_back({.x = values[i], .y = share(i)});
      series.points.push_back({.x = values[i], .y = share(i + 1)});
    }
    chart.series.push_back(std::move(series));
  }
  return figures;
}

}  // namespace stasis::experiments
