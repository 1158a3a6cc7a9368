// A straight line through points, by least squares.
#pragma once

#include <span>

namespace stasis::experiments {

// y = intercept + slope * x. Value.
struct LinearFit {
  double intercept = 0;
  double slope = 0;
  double r_squared = 0;  // Share of y's variance that the line explains; 1 if y has none.
  double residual_standard_deviation = 0;  // With n - 2; 0 for two points.
  double slope_standard_error = 0;         // 0 for two points.
};

// Equally many of both, at least two, and not all x equal.
LinearFit linear_fit(std::span<const double> x, std::span<const double> y);

}  // namespace stasis::experiments
