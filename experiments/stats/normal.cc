#include "experiments/stats/normal.h"

#include <cmath>
#include <numbers>

#include "core/check.h"

namespace stasis::experiments {

double normal_cdf(double x) {
  // Through erfc, which keeps its relative accuracy in the lower tail.
  return 0.5 * std::erfc(-x / std::numbers::sqrt2);
}

double normal_quantile(double probability) {
  STASIS_CHECK(probability > 0 && probability < 1);
  if (probability > 0.5) {
    return -normal_quantile(1 - probability);  // The lower tail is the accurate one.
  }
  // Newton's method kept inside a shrinking bracket. The distribution function is smooth and
  // strictly increasing, so this cannot fail; it is called a few times an interval, never in a loop
  // over samples.
  double low = -40;
  double high = 0;
  double x = -1;
  for (int step = 0; step < 200; ++step) {
    const double excess = normal_cdf(x) - probability;
    (excess > 0 ? high : low) = x;
    const double density = std::exp(-0.5 * x * x) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
    double next = density > 0 ? x - excess / density : (low + high) / 2;
    if (!(next > low && next < high)) {
      next = (low + high) / 2;
    }
    if (std::abs(next - x) < 1e-14 * (1 + std::abs(x))) {
      return next;
    }
    x = next;
  }
  return x;
}

}  // namespace stasis::experiments
