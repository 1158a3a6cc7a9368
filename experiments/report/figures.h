// From a run's rows to the figures of its report. Pure.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "experiments/harness/figure.h"
#include "experiments/harness/summary.h"
#include "experiments/report/report.h"

namespace stasis::experiments {

// The number that a level begins with: 10 of "10 %", 64 of "64M". Nothing for "all".
std::optional<double> leading_number(std::string_view level);

// The lines of a figure: medians with intervals by the levels of its factors. Lines of one point
// are left out where others have more. A factor "memory" that has several levels is added to the
// names.
ReportFigure make_figure(const Figure& figure, std::span<const CellSummary> cells);

// Gives lines of one name one style in all of the figures.
void share_styles(std::vector<ReportFigure>& figures);

// The milestones of each cell of a restore, one after the other, by their medians.
StackedBars phases_of(std::span<const CellSummary> cells);

// The headline values of all trials, a figure a group of cells (report/bar_chart.h) of at most
// `lines_max`; larger groups have as many of their cells.
std::vector<ReportFigure> distributions_of(const Plan& plan, const RowTable& table,
                                           std::size_t lines_max);

}  // namespace stasis::experiments
