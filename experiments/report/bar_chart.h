// The medians of a run's cells as bars, with their floors. Pure.
#pragma once

#include <span>
#include <string>

#include "experiments/harness/summary.h"

namespace stasis::experiments {

// Of the metric that tables show; null if it was not measured.
const MetricSummary* headline_of(const CellSummary& cell);
// The part of a cell's id that says what belongs together: "restore/lazy".
std::string group_of(const std::string& id);

// One chart a group of cells, each on a scale of its own, under its name. HTML.
std::string bar_charts(std::span<const CellSummary> cells);

}  // namespace stasis::experiments
