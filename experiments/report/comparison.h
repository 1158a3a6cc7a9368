// Two runs of one experiment held against each other: what a regression guard and a reviewer ask.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"
#include "experiments/experiment.h"
#include "experiments/report/loaded_run.h"
#include "experiments/stats/bootstrap.h"

namespace stasis::experiments {

// The rows of two runs. Cells are compared by their headline metric; lower is better in all of
// them. kInvalidArgument for runs of different experiments, backends or scales.
Result<Comparison> compare(const LoadedRun& before, const LoadedRun& after,
                           const CompareOptions& options);

// Ends with a newline. At most 100 columns where names allow it.
std::string render_text(const Comparison& comparison);

}  // namespace stasis::experiments
