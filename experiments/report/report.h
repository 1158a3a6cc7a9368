// A run as one page: plain text for terminals, and HTML that needs no other file and no network.
#pragma once

#include <string>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/harness/host_facts.h"
#include "experiments/harness/summary.h"

namespace stasis::experiments {

// All that a report shows. Value.
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
};

// Ends with a newline. At most 100 columns.
std::string render_text(const ReportData& data);
// A complete document: light or dark as the reader's system is, bars as inline SVG. Everything from
// the rows is escaped.
std::string render_html(const ReportData& data);

}  // namespace stasis::experiments
