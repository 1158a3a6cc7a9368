#include "experiments/harness/evaluator.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "experiments/report/format.h"
#include "experiments/stats/bootstrap.h"
#include "experiments/stats/descriptive.h"
#include "experiments/stats/regression.h"

namespace stasis::experiments {
namespace {

using Verdict = CheckOutcome::Verdict;

CheckOutcome open_check(const Requirement& wanted) {
  return {.name = wanted.name, .requirement = wanted.text, .limit = wanted.limit, .figures = {}};
}

void settle(CheckOutcome& check, const Interval& interval, Bound bound) {
  check.value = interval.estimate;
  check.low = interval.low;
  check.high = interval.high;
  const bool passes =
      bound == Bound::kAtMost ? check.value <= check.limit : check.value >= check.limit;
  check.verdict = passes ? Verdict::kPass : Verdict::kFail;
}

Interval exactly(double value) {
  return {.estimate = value, .low = value, .high = value};
}

bool contains(const Interval& interval, double value) {
  return interval.low <= value && value <= interval.high;
}

// Milliseconds with all their digits, so that two that are near can be told apart.
std::string shown(const std::string& metric, double value) {
  return metric.ends_with("_ns") ? fmt::format("{:.3f} ms", value * 1e-6)
                                 : format_value(metric, value);
}

}  // namespace

std::string level_of(const Factors& factors, const std::string& name) {
  for (const auto& [factor, level] : factors) {
    if (factor == name) {
      return level;
    }
  }
  return {};
}

void Evaluator::ratio(const Requirement& wanted, const Quantity& above, const Quantity& below) {
  CheckOutcome check = open_check(wanted);
  const auto [numerators, denominators] =
      table_.pairs(above.cell, above.metric, below.cell, below.metric);
  if (numerators.empty()) {
    check.figures = missing(above, below);
  } else {
    const Interval interval =
        bootstrap_median_ratio(numerators, denominators, {.seed = plan_.seed});
    settle(check, interval, wanted.bound);
    check.within_noise = numerators.size() < 2 || contains(interval, wanted.limit);
    check.figures =
        fmt::format("{} {} / {} {}, {} pairs", above.cell, shown(above.metric, median(numerators)),
                    below.cell, shown(below.metric, median(denominators)), numerators.size());
  }
  checks_.push_back(std::move(check));
}

void Evaluator::mean_ratio(const Requirement& wanted,
                           std::span<const std::pair<Quantity, Quantity>> pairs) {
  CheckOutcome check = open_check(wanted);
  std::vector<double> medians;
  for (const auto& [above, below] : pairs) {
    const auto [numerators, denominators] =
        table_.pairs(above.cell, above.metric, below.cell, below.metric);
    if (!numerators.empty()) {
      medians.push_back(
          bootstrap_median_ratio(numerators, denominators, {.seed = plan_.seed}).estimate);
    }
  }
  if (medians.empty()) {
    check.figures = pairs.empty() ? "the run has no such cells"
                                  : missing(pairs.front().first, pairs.front().second);
  } else {
    const auto of_logarithms = [](std::span<const double> sample) {
      return geometric_mean(sample);
    };
    const Interval interval = bootstrap(medians, of_logarithms, {.seed = plan_.seed});
    settle(check, interval, wanted.bound);
    check.within_noise = medians.size() < 2 || contains(interval, wanted.limit);
    check.figures =
        fmt::format("geometric mean of {} of {} medians, from {:.2f} to {:.2f}", medians.size(),
                    pairs.size(), *std::min_element(medians.begin(), medians.end()),
                    *std::max_element(medians.begin(), medians.end()));
  }
  checks_.push_back(std::move(check));
}

void Evaluator::greatest(const Requirement& wanted, const std::string& prefix,
                         const std::string& metric, double unit) {
  greatest(wanted, prefix, [&](const Row& row) -> std::optional<Figure> {
    const auto found = row.metrics.find(metric);
    if (found == row.metrics.end()) {
      return std::nullopt;
    }
    return Figure{.value = found->second / unit, .words = {}};
  });
}

void Evaluator::greatest(const Requirement& wanted, const std::string& prefix,
                         const Measure& measure) {
  CheckOutcome check = open_check(wanted);
  check.figures = "no cell has measured it";
  std::optional<double> worst;
  for (const Row& row : table_.rows()) {
    if (!row.cell.starts_with(prefix)) {
      continue;
    }
    if (const std::optional<Figure> figure = measure(row);
        figure && (!worst || figure->value > *worst)) {
      worst = figure->value;
      check.figures = fmt::format("greatest in {}{}{}", row.cell, figure->words.empty() ? "" : ": ",
                                  figure->words);
    }
  }
  if (worst) {
    settle(check, exactly(*worst), wanted.bound);
  }
  checks_.push_back(std::move(check));
}

void Evaluator::linear(const Requirement& wanted, std::span<const std::string> cells, const Axis& x,
                       const Axis& y) {
  CheckOutcome check = open_check(wanted);
  std::vector<double> xs;
  std::vector<double> ys;
  for (const std::string& cell : cells) {
    const std::vector<double> x_values = table_.values(cell, x.metric);
    const std::vector<double> y_values = table_.values(cell, y.metric);
    if (!x_values.empty() && !y_values.empty()) {
      xs.push_back(median(x_values) / x.unit);
      ys.push_back(median(y_values) / y.unit);
    }
  }
  if (xs.size() < 3 ||
      *std::min_element(xs.begin(), xs.end()) == *std::max_element(xs.begin(), xs.end())) {
    check.figures = fmt::format("fewer than three levels of {} were measured", x.metric);
  } else {
    const LinearFit fit = linear_fit(xs, ys);
    settle(check, exactly(fit.r_squared), wanted.bound);
    check.figures = fmt::format("{:.3f} {} + {:.3g} {} a {} over {} medians", fit.intercept,
                                y.unit_name, fit.slope, y.unit_name, x.unit_name, xs.size());
  }
  checks_.push_back(std::move(check));
}

void Evaluator::proofs_agree(const Requirement& wanted,
                             const std::function<std::string(const Row& row)>& group) {
  CheckOutcome check = open_check(wanted);
  check.figures = "no trial has answered";
  std::map<std::string, std::set<std::string>> answers;
  std::size_t rows = 0;
  for (const Row& row : table_.rows()) {
    const std::string name = row.proof.empty() ? std::string() : group(row);
    if (!name.empty()) {
      answers[name].insert(row.proof);
      ++rows;
    }
  }
  if (rows > 0) {
    const auto disagree = static_cast<double>(std::count_if(
        answers.begin(), answers.end(), [](const auto& entry) { return entry.second.size() > 1; }));
    settle(check, exactly(disagree), wanted.bound);
    check.figures =
        fmt::format("{} answers in {} groups, {} groups disagree", rows, answers.size(), disagree);
  }
  checks_.push_back(std::move(check));
}

void Evaluator::value(const Requirement& wanted, const Interval& interval, std::string figures) {
  CheckOutcome check = open_check(wanted);
  settle(check, interval, wanted.bound);
  check.within_noise = interval.low < interval.high && contains(interval, wanted.limit);
  check.figures = std::move(figures);
  checks_.push_back(std::move(check));
}

void Evaluator::not_applicable(const Requirement& wanted, std::string reason) {
  CheckOutcome check = open_check(wanted);
  check.figures = std::move(reason);
  checks_.push_back(std::move(check));
}

std::string Evaluator::missing(const Quantity& above, const Quantity& below) const {
  for (const Quantity* quantity : {&above, &below}) {
    if (table_.values(quantity->cell, quantity->metric).empty()) {
      return fmt::format("{} of {} was not measured", quantity->metric, quantity->cell);
    }
  }
  return fmt::format("no block has both {} and {}", above.cell, below.cell);
}

}  // namespace stasis::experiments
