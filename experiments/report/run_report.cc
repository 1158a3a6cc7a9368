#include "experiments/report/run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "experiments/harness/host_facts.h"
#include "experiments/harness/text_file.h"
#include "experiments/report/report.h"
#include "experiments/restore_latency/checks.h"

namespace stasis::experiments {
namespace {

// A run that may be quoted has at least as many trials a cell.
constexpr std::uint32_t kTrialsMin = 30;
// Above this share of tainted trials a run must not be quoted: its medians may be the noise's.
constexpr double kTaintedShareMax = 0.1;

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

Result<RunOutcome> summarize_run(const std::string& directory, RunEnd end) {
  const bool interrupted = end == RunEnd::kInterrupted;
  RunOutcome outcome;
  outcome.directory = directory;
  outcome.rows_path = directory + "/rows.jsonl";
  outcome.html_path = directory + "/report.html";
  outcome.text_path = directory + "/report.txt";
  outcome.interrupted = interrupted;
  STASIS_ASSIGN(const std::string plan_text, read_text_file(directory + "/plan.json"));
  STASIS_ASSIGN(const Plan plan, plan_from_json(plan_text, directory + "/plan.json"));
  STASIS_ASSIGN(const std::vector<Row> rows, read_rows(outcome.rows_path));
  STASIS_ASSIGN(HostFacts host, read_host_facts(outcome.rows_path));

  const RowTable table(plan, rows);
  ReportData data;
  data.plan = plan;
  data.host = std::move(host);
  data.cells = summarize(plan, table);
  data.checks = evaluate_checks(plan, table);
  data.rows = table.rows().size();
  data.tainted = table.tainted();
  data.failed = table.failed();
  add_trouble(table, rows, data);
  data.not_quotable_because =
      not_quotable_because(plan, table, interrupted, is_complete(plan, data.cells));
  outcome.summary = render_text(data);
  outcome.checks = data.checks;
  outcome.rows = data.rows;
  outcome.tainted_rows = data.tainted;
  outcome.failed_rows = data.failed;
  outcome.not_quotable_because = data.not_quotable_because;
  outcome.quotable = data.not_quotable_because.empty();
  STASIS_TRY(write_text_file(outcome.text_path, outcome.summary));
  STASIS_TRY(write_text_file(outcome.html_path, render_html(data)));
  return outcome;
}

}  // namespace stasis::experiments
