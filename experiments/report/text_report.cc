#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "experiments/report/format.h"
#include "experiments/report/report.h"

namespace stasis::experiments {
namespace {

using Line = std::array<std::string, 6>;

std::string table(const std::vector<Line>& lines) {
  std::array<std::size_t, 6> widths = {};
  for (const Line& line : lines) {
    for (std::size_t column = 0; column < line.size(); ++column) {
      widths.at(column) = std::max(widths.at(column), line.at(column).size());
    }
  }
  std::string text;
  for (const Line& line : lines) {
    std::string row = fmt::format("  {:<{}}", line[0], widths[0]);
    for (std::size_t column = 1; column < line.size(); ++column) {
      row += fmt::format("  {:>{}}", line.at(column), widths.at(column));
    }
    text += row.substr(0, row.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string cells_text(const std::vector<CellSummary>& cells) {
  std::vector<Line> lines = {{"cell", "n", "median", "95 % interval", "p90", "of its floor"}};
  for (const CellSummary& cell : cells) {
    const auto headline = cell.metrics.find(cell.cell.headline);
    if (headline == cell.metrics.end()) {
      lines.push_back({cell.cell.id, std::to_string(cell.trials),
                       cell.failed > 0 ? "failed" : "not measured", "", "", ""});
      continue;
    }
    const MetricSummary& metric = headline->second;
    lines.push_back({cell.cell.id, fmt::format("{}{}", metric.trials, cell.tainted > 0 ? "*" : ""),
                     format_value(cell.cell.headline, metric.median.estimate),
                     format_interval(cell.cell.headline, metric.median),
                     format_value(cell.cell.headline, metric.p90),
                     cell.times_floor ? format_ratio(cell.times_floor->estimate) : ""});
  }
  return table(lines);
}

std::string checks_text(const std::vector<CheckOutcome>& checks) {
  std::string text;
  for (const CheckOutcome& check : checks) {
    text += fmt::format("  {:<4}  {}\n        {}: {}\n", verdict_text(check), check.requirement,
                        format_check(check), check.figures);
  }
  return text;
}

}  // namespace

std::string render_text(const ReportData& data) {
  std::string text = fmt::format("{} on {}, {} run, seed {}\n", data.plan.experiment,
                                 data.plan.backend, data.plan.scale, data.plan.seed);
  if (!data.not_quotable_because.empty()) {
    text += fmt::format("\n  *** NOT QUOTABLE: {} ***\n", data.not_quotable_because);
  }
  text += "\nHost\n";
  for (const auto& [name, value] : data.host) {
    text += fmt::format("  {:<20} {}\n", name, value);
  }
  text += "\nCells (median of the headline metric; * = some trials met a busy host)\n";
  text += cells_text(data.cells);
  if (!data.checks.empty()) {
    text += "\nChecks (value and 95 % interval; information, not a test)\n";
    if (std::any_of(data.checks.begin(), data.checks.end(),
                    [](const CheckOutcome& check) { return check.within_noise; })) {
      text += "  within noise: the interval contains the limit; another run may decide otherwise\n";
    }
    text += checks_text(data.checks);
  }
  text += fmt::format("\n{} trials, {} tainted, {} failed\n", data.rows, data.tainted, data.failed);
  for (const auto& [reason, count] : data.taints) {
    text += fmt::format("  tainted {} x: {}\n", count, reason);
  }
  for (const std::string& error : data.errors) {
    text += fmt::format("  failed: {}\n", error);
  }
  return text;
}

}  // namespace stasis::experiments
