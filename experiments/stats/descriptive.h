// Numbers that describe a sample without assuming a distribution.
#pragma once

#include <span>

namespace stasis::experiments {

// All of these need a sample that is not empty and holds no NaN; they do not change it.

double mean(std::span<const double> sample);
double median(std::span<const double> sample);
// Linear interpolation between order statistics (type 7 of Hyndman and Fan 1996, the default of R
// and NumPy). `probability` in [0, 1].
double quantile(std::span<const double> sample, double probability);
// Median of the absolute deviations from the median, not scaled.
double median_absolute_deviation(std::span<const double> sample);
// The deviation scaled so that it estimates the standard deviation of a normal sample.
double robust_standard_deviation(std::span<const double> sample);
// With n - 1; 0 for a single value.
double standard_deviation(std::span<const double> sample);
// All values must be positive.
double geometric_mean(std::span<const double> sample);

}  // namespace stasis::experiments
