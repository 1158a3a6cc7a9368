// Judges acceptance inequalities by the rows of a run: what the checks of the experiments are made
// of. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/harness/summary.h"

namespace stasis::experiments {

enum class Bound : std::uint8_t { kAtMost, kAtLeast };

// A metric of a cell.
struct Quantity {
  std::string cell, metric;
};

// What a check is called and asks for. Value.
struct Requirement {
  std::string name;
  std::string text;  // In words, with the limit.
  Bound bound = Bound::kAtMost;
  double limit = 0;
};

// Collects outcomes in the order of the calls. One whose rows are missing is kNotApplicable and
// says what is missing.
class Evaluator {
 public:
  // Both are borrowed.
  Evaluator(const Plan& plan, const RowTable& table) : plan_(plan), table_(table) {}

  // The median of the ratios of two quantities, paired by block.
  void ratio(const Requirement& wanted, const Quantity& above, const Quantity& below);
  // The geometric mean, over pairs of quantities, of such medians: the average of speed-ups. Pairs
  // without rows are left out, and the figures say how many there were.
  void mean_ratio(const Requirement& wanted, std::span<const std::pair<Quantity, Quantity>> pairs);
  // The greatest value of `metric`, in `unit`, over all cells whose id begins with `prefix`.
  void greatest(const Requirement& wanted, const std::string& prefix, const std::string& metric,
                double unit);
  // The greatest, over all rows of cells whose id begins with `prefix`, of a figure that `measure`
  // makes of a row, and its explanation. It returns nothing for rows that do not count.
  struct Figure {
    double value = 0;
    std::string words;
  };
  using Measure = std::function<std::optional<Figure>(const Row& row)>;
  void greatest(const Requirement& wanted, const std::string& prefix, const Measure& measure);
  // R^2 of the line through the medians of two metrics of these cells. `x_unit` and `y_unit` are
  // those of the slope in the figures: bytes of a MiB, for one.
  struct Axis {
    std::string metric;
    double unit = 1;
    std::string unit_name = {};
  };
  void linear(const Requirement& wanted, std::span<const std::string> cells, const Axis& x,
              const Axis& y);
  // How many groups of rows have given more than one proof. `group` names the group of a row;
  // empty: it belongs to none.
  void proofs_agree(const Requirement& wanted,
                    const std::function<std::string(const Row& row)>& group);
  // A value that the caller has found, with its interval or without (low == high).
  void value(const Requirement& wanted, const Interval& interval, std::string figures);
  void not_applicable(const Requirement& wanted, std::string reason);

  [[nodiscard]] const Plan& plan() const { return plan_; }
  [[nodiscard]] const RowTable& table() const { return table_; }
  std::vector<CheckOutcome> take() && { return std::move(checks_); }

 private:
  [[nodiscard]] std::string missing(const Quantity& above, const Quantity& below) const;

  const Plan& plan_;
  const RowTable& table_;
  std::vector<CheckOutcome> checks_;
};

// The level of a factor; empty if there is no such factor.
std::string level_of(const Factors& factors, const std::string& name);

}  // namespace stasis::experiments
