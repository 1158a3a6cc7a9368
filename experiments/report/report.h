// A run as one page: plain text for terminals, and HTML that needs no other file and no network.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/harness/host_facts.h"
#include "experiments/harness/summary.h"
#include "experiments/report/chart.h"

namespace stasis::experiments {

// A line chart with what is said below it. Value.
struct ReportFigure {
  std::string title, caption;
  LineChart chart;
};

// All that a report shows of one run. Value.
struct ReportData {
  Plan plan;
  HostFacts host;
  std::vector<CellSummary> cells;
  std::vector<CheckOutcome> checks;
  std::size_t rows = 0, tainted = 0, failed = 0;
  // Why rows were tainted, and how many by each reason's kind; and the errors of failed trials.
  std::vector<std::pair<std::string, std::size_t>> taints;
  std::vector<std::string> errors;
  std::string not_quotable_because;  // Empty: quotable.

  // Of the HTML alone.
  std::string question = {};   // Of the experiment.
  std::string rows_link = {};  // Where the raw rows are, as seen from the page; empty: not linked.
  std::vector<ReportFigure> figures = {};
  StackedBars phases = {};  // Of the cells that have milestones.
  std::vector<ReportFigure> distributions = {};
  std::optional<Comparison> comparison = {};  // With another run of it.
};

// Ends with a newline. At most 100 columns.
std::string render_text(const ReportData& data);
// A complete document: light or dark as the reader's system is, dark ink on white when printed,
// figures as inline SVG. Everything from the rows is escaped.
std::string render_html(const ReportData& data);
// Several runs in one document, with an overview before them.
std::string render_html(std::span<const ReportData> runs);

}  // namespace stasis::experiments
