// Numbers as people read them, for both reports.
#pragma once

#include <string>
#include <string_view>

#include "experiments/experiment.h"
#include "experiments/stats/bootstrap.h"

namespace stasis::experiments {

// What a metric's values are divided by to be read, and the name of the unit; empty for a count.
// Value.
struct Unit {
  double divisor = 1;
  std::string_view name;
};
// The unit for a value of this size, by the end of the metric's name.
Unit unit_of(std::string_view metric, double value);

// By the unit at the end of the metric's name: "1.23 ms", "64.0 MiB", "17".
std::string format_value(std::string_view metric, double value);
// "1.20 - 1.27 ms", in the unit of the estimate.
std::string format_interval(std::string_view metric, const Interval& interval);
// "1.23 x".
std::string format_ratio(double ratio);
// "1.234 (1.2 - 1.3), at most 1.3" without a judgement.
std::string format_check(const CheckOutcome& check);

}  // namespace stasis::experiments
