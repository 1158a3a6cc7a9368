#include "experiments/stats/descriptive.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

#include "core/check.h"

namespace stasis::experiments {
namespace {

// 1 / Phi^-1(3/4): the ratio of standard deviation to median absolute deviation of a normal
// distribution.
constexpr double kNormalMadScale = 1.482602218505602;

// Type 7 on scratch storage that it reorders.
double quantile_of_scratch(std::vector<double>& scratch, double probability) {
  STASIS_CHECK(!scratch.empty() && probability >= 0 && probability <= 1);
  const double position = probability * static_cast<double>(scratch.size() - 1);
  const auto lower = static_cast<std::size_t>(position);
  const auto nth = scratch.begin() + static_cast<std::ptrdiff_t>(lower);
  std::nth_element(scratch.begin(), nth, scratch.end());
  const double fraction = position - static_cast<double>(lower);
  if (fraction == 0.0) {
    return *nth;
  }
  const double above = *std::min_element(nth + 1, scratch.end());
  return *nth + fraction * (above - *nth);
}

}  // namespace

double mean(std::span<const double> sample) {
  STASIS_CHECK(!sample.empty());
  return std::accumulate(sample.begin(), sample.end(), 0.0) / static_cast<double>(sample.size());
}

double median(std::span<const double> sample) {
  return quantile(sample, 0.5);
}

double quantile(std::span<const double> sample, double probability) {
  std::vector<double> scratch(sample.begin(), sample.end());
  return quantile_of_scratch(scratch, probability);
}

double median_absolute_deviation(std::span<const double> sample) {
  const double center = median(sample);
  std::vector<double> deviations;
  deviations.reserve(sample.size());
  for (const double value : sample) {
    deviations.push_back(std::abs(value - center));
  }
  return quantile_of_scratch(deviations, 0.5);
}

double robust_standard_deviation(std::span<const double> sample) {
  return kNormalMadScale * median_absolute_deviation(sample);
}

double standard_deviation(std::span<const double> sample) {
  if (sample.size() < 2) {
    return 0;
  }
  const double center = mean(sample);
  double squares = 0;
  for (const double value : sample) {
    squares += (value - center) * (value - center);
  }
  return std::sqrt(squares / static_cast<double>(sample.size() - 1));
}

double geometric_mean(std::span<const double> sample) {
  STASIS_CHECK(!sample.empty());
  double logarithms = 0;
  for (const double value : sample) {
    STASIS_CHECK(value > 0);
    logarithms += std::log(value);
  }
  return std::exp(logarithms / static_cast<double>(sample.size()));
}

}  // namespace stasis::experiments
