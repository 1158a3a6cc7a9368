// A run's numbers for other programs: CSV for spreadsheets and statistics, data and scripts for
// gnuplot.
#pragma once

#include <string>

#include "core/result.h"
#include "experiments/report/report.h"

namespace stasis::experiments {

// Writes into `directory`, which is created:
//   cells.csv   one line a cell and metric: medians, intervals, ...
//   trials.csv  one line a trial and metric, warm-ups and failed ones left out
//   checks.csv  the acceptance inequalities
//   figure-N.dat, figure-N.gnuplot   each figure; `gnuplot figure-N.gnuplot` writes figure-N.svg
// kIo names the file.
Result<void> export_run(const std::string& directory, const ReportData& data,
                        const RowTable& table);

}  // namespace stasis::experiments
