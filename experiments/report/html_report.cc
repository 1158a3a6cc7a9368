#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "experiments/report/bar_chart.h"
#include "experiments/report/chart.h"
#include "experiments/report/format.h"
#include "experiments/report/html_page.h"
#include "experiments/report/report.h"

namespace stasis::experiments {
namespace {

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
      html +=
          fmt::format("<tr><td class=\"id\">{}</td><td colspan=\"9\" class=\"warn\">{}</td></tr>\n",
                      escaped(cell.cell.id), cell.failed > 0 ? "failed" : "not measured");
      continue;
    }
    const std::string& name = cell.cell.headline;
    html += fmt::format(
        "<tr><td class=\"id\">{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>"
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

std::string tile(std::string_view value, std::string_view name, std::string_view style = {}) {
  return fmt::format("<div class=\"tile\"><b class=\"{}\">{}</b><span>{}</span></div>\n", style,
                     escaped(value), escaped(name));
}

std::size_t count(const std::vector<CheckOutcome>& checks, CheckOutcome::Verdict verdict) {
  return static_cast<std::size_t>(
      std::count_if(checks.begin(), checks.end(),
                    [&](const CheckOutcome& check) { return check.verdict == verdict; }));
}

// What a glance should tell.
std::string tiles(const ReportData& data) {
  using Verdict = CheckOutcome::Verdict;
  std::string html = "<div class=\"tiles\">\n";
  html += tile(fmt::format("{}", data.cells.size()), "cells");
  html += tile(fmt::format("{}", data.rows), "trials that count");
  html += tile(fmt::format("{}", data.tainted), "met a busy host", data.tainted > 0 ? "warn" : "");
  html += tile(fmt::format("{}", data.failed), "failed", data.failed > 0 ? "fail" : "");
  if (!data.checks.empty()) {
    const std::size_t failed = count(data.checks, Verdict::kFail);
    html += tile(fmt::format("{} of {}", count(data.checks, Verdict::kPass),
                             data.checks.size() - count(data.checks, Verdict::kNotApplicable)),
                 "checks pass", failed > 0 ? "warn" : "pass");
  }
  return html + "</div>\n";
}

std::string figure(const ReportFigure& figure) {
  const std::string svg = render(figure.chart);
  return svg.empty() ? std::string()
                     : fmt::format("<figure><figcaption><b>{}</b>{}</figcaption>{}</figure>\n",
                                   escaped(figure.title), escaped(figure.caption), svg);
}

std::string figures(const std::vector<ReportFigure>& figures) {
  std::string html;
  for (const ReportFigure& each : figures) {
    html += figure(each);
  }
  return html.empty() ? html : "<div class=\"figures\">\n" + html + "</div>\n";
}

std::string comparison_section(const Comparison& comparison) {
  using Verdict = CellComparison::Verdict;
  ForestPlot plot{.title = "Ratio of medians, after / before, with 95 % intervals",
                  .threshold = comparison.options.threshold,
                  .rows = {}};
  std::string rows;
  for (const CellComparison& cell : comparison.cells) {
    const char* style = cell.verdict == Verdict::kWorse    ? "fail"
                        : cell.verdict == Verdict::kBetter ? "pass"
                                                           : "na";
    if (cell.verdict != Verdict::kMissing) {
      plot.rows.push_back({.name = cell.cell, .ratio = cell.ratio, .style = style});
    }
    rows += fmt::format(
        "<tr><td class=\"id\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>"
        "<td class=\"n\">{:.3f} ({:.3f} - {:.3f})</td><td class=\"n\">{:+.2f}</td>"
        "<td class=\"n\">{:.1f} %</td><td class=\"{}\">{}</td></tr>\n",
        escaped(cell.cell), format_value(cell.metric, cell.before),
        format_value(cell.metric, cell.after), cell.ratio.estimate, cell.ratio.low, cell.ratio.high,
        cell.cliffs_delta, 100 * cell.minimum_detectable_effect, style, name_of(cell.verdict));
  }
  std::string html = fmt::format(
      "<h2>Against {}</h2>\n<p>{} cells are worse and {} better by more than {:.3g} %; {} are "
      "undecided.{}</p>\n<ul>\n",
      escaped(comparison.before), comparison.worse, comparison.better,
      100 * comparison.options.threshold, comparison.undecided,
      comparison.mean_ratio
          ? fmt::format(" Geometric mean of the ratios: {:.3f}.", *comparison.mean_ratio)
          : std::string());
  for (const std::string& line : comparison.differences) {
    html += fmt::format("<li class=\"soft\">differs: {}</li>\n", escaped(line));
  }
  for (const std::string& line : comparison.warnings) {
    html += fmt::format("<li class=\"warn\">{}</li>\n", escaped(line));
  }
  return html + "</ul>\n<div class=\"scroll\">" + render(plot) +
         "</div>\n<div class=\"scroll\"><table><tr><th>cell</th><th class=\"n\">before</th>"
         "<th class=\"n\">after</th><th class=\"n\">ratio (95 % interval)</th>"
         "<th class=\"n\">Cliff's delta</th><th "
         "class=\"n\">detectable</th><th>verdict</th></tr>\n" +
         rows + "</table></div>\n";
}

std::string header(const ReportData& data) {
  return fmt::format(
      "<h1>Stasis: {}</h1>\n<p>{}</p>\n<p class=\"soft\">Backend {}, {} run, seed {}. Medians with "
      "95 % bootstrap intervals (BCa); multiples of a floor are medians of ratios paired by "
      "block.</p>\n",
      escaped(data.plan.experiment), escaped(data.question), escaped(data.plan.backend),
      escaped(data.plan.scale), data.plan.seed);
}

std::string body(const ReportData& data) {
  std::string html;
  if (!data.not_quotable_because.empty()) {
    html += fmt::format("<p class=\"banner\">Not quotable: {}</p>\n",
                        escaped(data.not_quotable_because));
  }
  html += tiles(data);
  html += figures(data.figures);
  if (data.comparison) {
    html += comparison_section(*data.comparison);
  }
  if (!data.checks.empty()) {
    html +=
        "<h2>Checks</h2>\n<p class=\"soft\">Within noise: the interval contains the limit; another "
        "run may decide otherwise.</p>\n" +
        checks_table(data.checks);
  }
  if (const std::string phases = render(data.phases); !phases.empty()) {
    html += fmt::format(
        "<h2>Where a restore's time goes</h2>\n<p class=\"soft\">{}</p>\n<div class=\"scroll\">{}"
        "</div>\n",
        escaped(data.phases.title), phases);
  }
  html +=
      "<h2>Medians</h2>\n<p class=\"soft\">Line: 95 % interval. Grey: the physical floor, "
      "where there is one.</p>\n" +
      bar_charts(data.cells);
  if (const std::string distributions = figures(data.distributions); !distributions.empty()) {
    html +=
        "<h2>Distributions</h2>\n<p class=\"soft\">The share of trials that took at most so "
        "long.</p>\n" +
        distributions;
  }
  html += "<h2>Cells</h2>\n" + cells_table(data.cells) + all_metrics(data.cells);
  html += "<h2>Trials</h2>\n" + noise_section(data);
  if (!data.rows_link.empty()) {
    html += fmt::format("<p>Every trial, one JSON object a line: <a href=\"{0}\">{0}</a></p>\n",
                        escaped(data.rows_link));
  }
  return html + "<h2>Host</h2>\n" + facts_table(data.host);
}

}  // namespace

std::string render_html(const ReportData& data) {
  return html_page("Stasis: " + data.plan.experiment,
                   "<header>" + header(data) + "</header>\n" + body(data));
}

std::string render_html(std::span<const ReportData> runs) {
  if (runs.size() == 1) {
    return render_html(runs.front());
  }
  std::string html = fmt::format(
      "<header><h1>Stasis: {} runs</h1></header>\n<nav><div class=\"scroll\"><table><tr>"
      "<th>experiment</th><th>question</th><th class=\"n\">cells</th><th class=\"n\">trials</th>"
      "<th class=\"n\">checks</th><th>quotable</th></tr>\n",
      runs.size());
  std::string sections;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const ReportData& run = runs[i];
    html += fmt::format(
        "<tr><td><a href=\"#run{}\">{}</a></td><td>{}</td><td class=\"n\">{}</td>"
        "<td class=\"n\">{}</td><td class=\"n\">{} pass, {} fail</td><td "
        "class=\"{}\">{}</td></tr>\n",
        i, escaped(run.plan.experiment), escaped(run.question), run.cells.size(), run.rows,
        count(run.checks, CheckOutcome::Verdict::kPass),
        count(run.checks, CheckOutcome::Verdict::kFail),
        run.not_quotable_because.empty() ? "pass" : "warn",
        run.not_quotable_because.empty() ? "yes" : escaped("no: " + run.not_quotable_because));
    sections += fmt::format("<section class=\"run\" id=\"run{}\">{}{}</section>\n", i, header(run),
                            body(run));
  }
  return html_page("Stasis: runs", html + "</table></div></nav>\n" + sections);
}

}  // namespace stasis::experiments
