// The acceptance inequalities of restore and save, evaluated on the rows of a run. Pure.
#pragma once

#include <vector>

#include "experiments/experiment.h"
#include "experiments/harness/summary.h"
#include "experiments/restore_latency/cells.h"

namespace stasis::experiments {

// Every inequality, in a fixed order. One whose cells have no rows is kNotApplicable and says which
// are missing. Ratios are medians of ratios paired by block; maxima are over all rows.
std::vector<CheckOutcome> evaluate_checks(const Plan& plan, const RowTable& table);

}  // namespace stasis::experiments
