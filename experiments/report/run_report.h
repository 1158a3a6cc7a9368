// From a run's directory to its outcome and its reports.
#pragma once

#include <cstdint>
#include <string>

#include "core/result.h"
#include "experiments/experiment.h"
#include "experiments/report/loaded_run.h"
#include "experiments/report/report.h"

namespace stasis::experiments {

enum class RunEnd : std::uint8_t { kFinished, kInterrupted };

// All that reports show of a run, but the link to its rows. Pure.
ReportData make_report(const LoadedRun& run, RunEnd end);
// The same as a caller gets it; the paths are those of the run's own reports.
RunOutcome outcome_of(const std::string& directory, const ReportData& data);

// Reads plan.json and rows.jsonl, evaluates the checks, and writes report.txt and report.html.
Result<RunOutcome> summarize_run(const std::string& directory, RunEnd end);

}  // namespace stasis::experiments
