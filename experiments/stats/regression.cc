#include "experiments/stats/regression.h"

#include <cmath>
#include <cstddef>

#include "core/check.h"
#include "experiments/stats/descriptive.h"

namespace stasis::experiments {

LinearFit linear_fit(std::span<const double> x, std::span<const double> y) {
  STASIS_CHECK(x.size() == y.size() && x.size() >= 2);
  const double x_mean = mean(x);
  const double y_mean = mean(y);
  double xx = 0;
  double xy = 0;
  double yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - x_mean) * (x[i] - x_mean);
    xy += (x[i] - x_mean) * (y[i] - y_mean);
    yy += (y[i] - y_mean) * (y[i] - y_mean);
  }
  STASIS_CHECK(xx > 0);
  LinearFit fit;
  fit.slope = xy / xx;
  fit.intercept = y_mean - fit.slope * x_mean;
  double residuals = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double residual = y[i] - (fit.intercept + fit.slope * x[i]);
    residuals += residual * residual;
  }
  fit.r_squared = yy == 0 ? 1 : 1 - residuals / yy;
  if (x.size() > 2) {
    const double variance = residuals / static_cast<double>(x.size() - 2);
    fit.residual_standard_deviation = std::sqrt(variance);
    fit.slope_standard_error = std::sqrt(variance / xx);
  }
  return fit;
}

}  // namespace stasis::experiments
