// Rows of a run put together: one summary a cell and metric.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "experiments/harness/plan.h"
#include "experiments/harness/row.h"
#include "experiments/stats/bootstrap.h"

namespace stasis::experiments {

// Value. In the metric's own unit.
struct MetricSummary {
  std::size_t trials = 0;
  Interval median;
  double min = 0, p90 = 0, max = 0;
  double minimum_detectable_effect = 0;  // Relative; 0 if the median is not positive.
};

// Value.
struct CellSummary {
  Cell cell;
  std::size_t trials = 0;   // That count: no warm-up, no error.
  std::size_t tainted = 0;  // Of those.
  std::size_t failed = 0;
  std::map<std::string, MetricSummary> metrics;
  std::optional<Interval> times_floor;  // Headline over floor, paired by block.
};

// The rows of a run that count, by cell and block. Tainted rows count: they are marked, not
// dropped.
class RowTable {
 public:
  RowTable(const Plan& plan, std::span<const Row> rows);

  // Of one cell, in the order of blocks.
  [[nodiscard]] std::vector<double> values(const std::string& cell,
                                           const std::string& metric) const;
  // Values of both of the blocks that have both: numerators, denominators.
  [[nodiscard]] std::pair<std::vector<double>, std::vector<double>> pairs(
      const std::string& cell, const std::string& metric, const std::string& other_cell,
      const std::string& other_metric) const;
  // Of one cell, by block.
  [[nodiscard]] std::map<std::uint32_t, double> by_block(const std::string& cell,
                                                         const std::string& metric) const;
  [[nodiscard]] std::span<const Row> rows() const { return rows_; }
  [[nodiscard]] std::size_t failed() const { return failed_; }
  [[nodiscard]] std::size_t tainted() const { return tainted_; }
  [[nodiscard]] std::size_t failed(const std::string& cell) const;

 private:
  std::vector<Row> rows_;
  std::map<std::string, std::map<std::uint32_t, const Row*>> by_cell_;
  std::map<std::string, std::size_t> failed_by_cell_;
  std::size_t failed_ = 0;
  std::size_t tainted_ = 0;
};

// In the order of the plan; cells without a row have no metrics.
std::vector<CellSummary> summarize(const Plan& plan, const RowTable& table);

// Values of one cell and metric of the blocks that both runs have: of `first`, of `second`.
std::pair<std::vector<double>, std::vector<double>> pairs_of(const RowTable& first,
                                                             const RowTable& second,
                                                             const std::string& cell,
                                                             const std::string& metric);

}  // namespace stasis::experiments
