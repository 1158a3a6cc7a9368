#include "experiments/stats/effect.h"

#include <cmath>
#include <numbers>

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

}  // namespace stasis::experiments
