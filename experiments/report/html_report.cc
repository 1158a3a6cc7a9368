#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>

#include "experiments/report/format.h"
#include "experiments/report/report.h"

namespace stasis::experiments {
namespace {

constexpr std::string_view kStyle = R"(
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --soft: #57606a; --rule: #d0d7de;
  --bar: #4f81bd; --floor: #9aa5b1; --pass: #1a7f37; --fail: #b3261e; --warn: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --soft: #8d96a0;
  --rule: #30363d; --bar: #6ca4e8; --floor: #5b6672; --pass: #3fb950; --fail: #ff7b72;
  --warn: #d29922; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
td.n, th.n { text-align: right; white-space: nowrap; }
.banner { border: 2px solid var(--fail); color: var(--fail); padding: .6rem 1rem; font-weight: 600; }
.pass { color: var(--pass); font-weight: 600; } .fail { color: var(--fail); font-weight: 600; }
.na, .soft { color: var(--soft); } .warn { color: var(--warn); }
svg { width: 100%; height: auto; } svg text { fill: var(--ink); font-size: 12px; }
svg .bar { fill: var(--bar); } svg .floorbar { fill: var(--floor); }
svg .line { stroke: var(--ink); stroke-width: 1.5; } svg .grid { stroke: var(--rule); }
svg .soft { fill: var(--soft); }
.scroll { overflow-x: auto; }
)";

std::string escaped(std::string_view text) {
  std::string safe;
  for (const char character : text) {
    switch (character) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        safe += character;
    }
  }
  return safe;
}

const MetricSummary* headline_of(const CellSummary& cell) {
  const auto found = cell.metrics.find(cell.cell.headline);
  return found == cell.metrics.end() ? nullptr : &found->second;
}

// The part of a cell's id that says what kind of bars belong together: "restore/lazy".
std::string group_of(const std::string& id) {
  const std::size_t first = id.find('/');
  const std::size_t second = first == std::string::npos ? first : id.find('/', first + 1);
  return id.starts_with("floor/") ? "floor" : id.substr(0, second);
}

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
        R"(<svg viewBox="0 0 {} {}" role="img" aria-label="{}: medians with 95 % intervals">)",
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
        R"(<line class="line" x1="{0:.1f}" x2="{1:.1f}" y1="{2:.1f}" y2="{2:.1f}"/>)",
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

std::string charts(const ReportData& data) {
  std::vector<std::string> order;
  std::map<std::string, std::vector<const CellSummary*>> groups;
  for (const CellSummary& cell : data.cells) {
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

std::string checks_table(const std::vector<CheckOutcome>& checks) {
  std::string html =
      "<table><tr><th>check</th><th>verdict</th><th class=\"n\">value (95 % interval)</th>"
      "<th>figures</th></tr>\n";
  for (const CheckOutcome& check : checks) {
    const char* style = check.within_noise                              ? "warn"
                        : check.verdict == CheckOutcome::Verdict::kPass ? "pass"
                        : check.verdict == CheckOutcome::Verdict::kFail ? "fail"
                                                                        : "na";
    html += fmt::format(
        "<tr><td>{}</td><td class=\"{}\">{}</td><td class=\"n\">{}</td><td class=\"soft\">{}</td>"
        "</tr>\n",
        escaped(check.requirement), style, verdict_text(check), escaped(format_check(check)),
        escaped(check.figures));
  }
  return html + "</table>\n";
}

std::string cells_table(const std::vector<CellSummary>& cells) {
  std::string html =
      "<div class=\"scroll\"><table><tr><th>cell</th><th>metric</th><th class=\"n\">n</th>"
      "<th class=\"n\">tainted</th><th class=\"n\">min</th><th class=\"n\">median</th>"
      "<th class=\"n\">95 % interval</th><th class=\"n\">p90</th>"
      "<th class=\"n\">of its floor</th><th class=\"n\">detectable</th></tr>\n";
  for (const CellSummary& cell : cells) {
    const MetricSummary* metric = headline_of(cell);
    if (metric == nullptr) {
      html += fmt::format("<tr><td>{}</td><td colspan=\"9\" class=\"warn\">{}</td></tr>\n",
                          escaped(cell.cell.id), cell.failed > 0 ? "failed" : "not measured");
      continue;
    }
    const std::string& name = cell.cell.headline;
    html += fmt::format(
        "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>"
        "<td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>"
        "<td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{:.0f} %</td></tr>\n",
        escaped(cell.cell.id), escaped(name), metric->trials, cell.tainted,
        format_value(name, metric->min), format_value(name, metric->median.estimate),
        format_interval(name, metric->median), format_value(name, metric->p90),
        cell.times_floor ? format_ratio(cell.times_floor->estimate) : "",
        100 * metric->minimum_detectable_effect);
  }
  return html + "</table></div>\n";
}

// Every metric of every cell, folded away.
std::string all_metrics(const std::vector<CellSummary>& cells) {
  std::string html = "<details><summary>Every metric of every cell</summary>\n";
  for (const CellSummary& cell : cells) {
    if (cell.metrics.empty()) {
      continue;
    }
    html += fmt::format("<h4>{}</h4><table>\n", escaped(cell.cell.id));
    for (const auto& [name, metric] : cell.metrics) {
      html += fmt::format("<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
                          escaped(name), format_value(name, metric.median.estimate),
                          format_interval(name, metric.median));
    }
    html += "</table>\n";
  }
  return html + "</details>\n";
}

std::string facts_table(const HostFacts& host) {
  std::string html = "<table>\n";
  for (const auto& [name, value] : host) {
    html += fmt::format("<tr><td>{}</td><td>{}</td></tr>\n", escaped(name), escaped(value));
  }
  return html + "</table>\n";
}

std::string noise_section(const ReportData& data) {
  std::string html = fmt::format(
      "<p>{} trials count; {} were tainted by other work on the host (kept, and counted); {} "
      "failed.</p>\n<ul>\n",
      data.rows, data.tainted, data.failed);
  for (const auto& [reason, count] : data.taints) {
    html += fmt::format("<li>{} x {}</li>\n", count, escaped(reason));
  }
  for (const std::string& error : data.errors) {
    html += fmt::format("<li class=\"fail\">{}</li>\n", escaped(error));
  }
  return html + "</ul>\n";
}

}  // namespace

std::string render_html(const ReportData& data) {
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
      "<title>Stasis: {0}</title>\n<style>{1}</style></head><body>\n<h1>Stasis: {0}</h1>\n",
      escaped(data.plan.experiment), kStyle);
  html += fmt::format(
      "<p class=\"soft\">Backend {}, {} run, seed {}. Medians with 95 % bootstrap intervals (BCa); "
      "multiples of a floor are medians of ratios paired by block.</p>\n",
      escaped(data.plan.backend), escaped(data.plan.scale), data.plan.seed);
  if (!data.not_quotable_because.empty()) {
    html += fmt::format("<p class=\"banner\">Not quotable: {}</p>\n",
                        escaped(data.not_quotable_because));
  }
  if (!data.checks.empty()) {
    html +=
        "<h2>Checks</h2>\n<p class=\"soft\">Within noise: the interval contains the limit; another "
        "run may decide otherwise.</p>\n" +
        checks_table(data.checks);
  }
  html +=
      "<h2>Medians</h2>\n<p class=\"soft\">Line: 95 % interval. Grey: the physical floor, "
      "where there is one.</p>\n" +
      charts(data);
  html += "<h2>Cells</h2>\n" + cells_table(data.cells) + all_metrics(data.cells);
  html += "<h2>Trials</h2>\n" + noise_section(data);
  html += "<h2>Host</h2>\n" + facts_table(data.host);
  return html + "</body></html>\n";
}

}  // namespace stasis::experiments
