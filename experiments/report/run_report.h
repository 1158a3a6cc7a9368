// From a run's directory to its outcome and its reports.
#pragma once

#include <cstdint>
#include <string>

#include "core/result.h"
#include "experiments/experiment.h"

namespace stasis::experiments {

enum class RunEnd : std::uint8_t { kFinished, kInterrupted };

// Reads plan.json and rows.jsonl, evaluates the checks, and writes report.txt and report.html.
Result<RunOutcome> summarize_run(const std::string& directory, RunEnd end);

}  // namespace stasis::experiments
