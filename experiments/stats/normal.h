// The standard normal distribution.
#pragma once

namespace stasis::experiments {

double normal_cdf(double x);
// The inverse; `probability` must lie strictly between 0 and 1. Accurate to about 1e-12.
double normal_quantile(double probability);

}  // namespace stasis::experiments
