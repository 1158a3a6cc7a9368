#include "experiments/report/run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "experiments/catalog.h"
#include "experiments/harness/host_facts.h"
#include "experiments/harness/text_file.h"
#include "experiments/report/figures.h"
#include "experiments/report/report.h"

namespace stasis::experiments {
namespace {

// A run that may be quoted has at least as many trials a cell.
constexpr std::uint32_t kTrialsMin = 30;
// Above this share of tainted trials a run must not be quoted: its medians may be the noise's.
constexpr double kTaintedShareMax = 0.1;
// More lines in one distribution cannot be told apart.
constexpr std::size_t kDistributionLinesMax = 8;

std::string not_quotable_because(const Plan& plan, const RowTable& table, bool interrupted,
                                 bool complete) {
  if (std::string reason = build_not_quotable_because(); !reason.empty()) {
    return reason;
  }
  if (plan.backend == "mock") {
    return "the mock backend says nothing about real machines";
  }
  if (plan.scale == "quick") {
    return "a quick run has small guests and few trials";
  }
  if (interrupted || !complete) {
    return "the run is not complete; the same command continues it";
  }
  if (table.failed() > 0) {
    return fmt::format("{} trials failed", table.failed());
  }
  if (plan.trials < kTrialsMin) {
    return fmt::format("{} trials a cell; {} are the least", plan.trials, kTrialsMin);
  }
  const auto rows = static_cast<double>(table.rows().size());
  if (static_cast<double>(table.tainted()) > kTaintedShareMax * rows) {
    return fmt::format("{} of {} trials met a busy host", table.tainted(), table.rows().size());
  }
  return {};
}

bool is_complete(const Plan& plan, const std::vector<CellSummary>& cells) {
  return std::all_of(cells.begin(), cells.end(),
                     [&](const CellSummary& cell) { return cell.trials >= plan.trials; });
}

// "steal: 5.0 % > 2.0 %" -> "steal": the kind of a reason, for counting.
std::string kind_of(const std::string& reason) {
  return reason.substr(0, reason.find(':'));
}

void add_trouble(const RowTable& table, std::span<const Row> rows, ReportData& data) {
  std::map<std::string, std::size_t> taints;
  for (const Row& row : table.rows()) {
    for (const std::string& reason : row.noise.reasons) {
      ++taints[kind_of(reason)];
    }
  }
  for (const auto& [reason, count] : taints) {
    data.taints.emplace_back(reason, count);
  }
  std::map<std::string, std::string> errors;  // The first of each cell.
  for (const Row& row : rows) {
    if (!row.error.empty() && table.failed(row.cell) > 0) {
      errors.emplace(row.cell, row.error);
    }
  }
  for (const auto& [cell, error] : errors) {
    std::string line = cell;
    line.append(": ").append(error);
    data.errors.push_back(std::move(line));
  }
}

}  // namespace

ReportData make_report(const LoadedRun& run, RunEnd end) {
  const RowTable table = run.table();
  ReportData data;
  data.plan = run.plan;
  data.host = run.host;
  data.cells = summarize(run.plan, table);
  data.checks = check_rows(run.plan, table);
  data.rows = table.rows().size();
  data.tainted = table.tainted();
  data.failed = table.failed();
  add_trouble(table, run.rows, data);
  data.not_quotable_because = not_quotable_because(run.plan, table, end == RunEnd::kInterrupted,
                                                   is_complete(run.plan, data.cells));
  if (const auto definition = find_experiment(run.plan.experiment)) {
    data.question = (*definition)->question;
    for (const Figure& figure : (*definition)->figures) {
      data.figures.push_back(make_figure(figure, data.cells));
    }
    share_styles(data.figures);
  }
  data.phases = phases_of(data.cells);
  data.distributions = distributions_of(run.plan, table, kDistributionLinesMax);
  return data;
}

RunOutcome outcome_of(const std::string& directory, const ReportData& data) {
  RunOutcome outcome;
  outcome.directory = directory;
  outcome.rows_path = directory + "/rows.jsonl";
  outcome.html_path = directory + "/report.html";
  outcome.text_path = directory + "/report.txt";
  outcome.summary = render_text(data);
  outcome.checks = data.checks;
  outcome.rows = data.rows;
  outcome.tainted_rows = data.tainted;
  outcome.failed_rows = data.failed;
  outcome.not_quotable_because = data.not_quotable_because;
  outcome.quotable = data.not_quotable_because.empty();
  return outcome;
}

Result<RunOutcome> summarize_run(const std::string& directory, RunEnd end) {
  STASIS_ASSIGN(const LoadedRun run, load_run(directory));
  ReportData data = make_report(run, end);
  data.rows_link = "rows.jsonl";
  RunOutcome outcome = outcome_of(directory, data);
  outcome.interrupted = end == RunEnd::kInterrupted;
  STASIS_TRY(write_text_file(outcome.text_path, outcome.summary));
  STASIS_TRY(write_text_file(outcome.html_path, render_html(data)));
  return outcome;
}

}  // namespace stasis::experiments
