#include "experiments/stats/effect.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "core/check.h"
#include "experiments/stats/descriptive.h"
#include "experiments/stats/normal.h"

namespace stasis::experiments {

double minimum_detectable_effect(std::span<const double> sample, std::size_t trials,
                                 const EffectOptions& options) {
  const double center = median(sample);
  STASIS_CHECK(center > 0 && trials > 0);
  const double z = normal_quantile(1 - options.significance / 2) + normal_quantile(options.power);
  const double median_penalty = std::sqrt(std::numbers::pi / 2);
  const double two_cells = std::sqrt(2 / static_cast<double>(trials));
  return z * median_penalty * two_cells * robust_standard_deviation(sample) / center;
}

double minimum_detectable_effect(std::span<const double> before, std::span<const double> after,
                                 const EffectOptions& options) {
  const double center = median(before);
  STASIS_CHECK(center > 0 && !after.empty());
  const double z = normal_quantile(1 - options.significance / 2) + normal_quantile(options.power);
  const double median_penalty = std::sqrt(std::numbers::pi / 2);
  const auto variance = [](std::span<const double> sample) {
    const double deviation = robust_standard_deviation(sample);
    return deviation * deviation / static_cast<double>(sample.size());
  };
  return z * median_penalty * std::sqrt(variance(before) + variance(after)) / center;
}

double cliffs_delta(std::span<const double> before, std::span<const double> after) {
  STASIS_CHECK(!before.empty() && !after.empty());
  std::vector<double> sorted(before.begin(), before.end());
  std::sort(sorted.begin(), sorted.end());
  double balance = 0;
  for (const double value : after) {
    const auto [first, last] = std::equal_range(sorted.begin(), sorted.end(), value);
    balance +=
        static_cast<double>(first - sorted.begin()) - static_cast<double>(sorted.end() - last);
  }
  return balance / (static_cast<double>(before.size()) * static_cast<double>(after.size()));
}

}  // namespace stasis::experiments
