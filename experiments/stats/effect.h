// How small a difference a run could have seen.
#pragma once

#include <cstddef>
#include <span>

namespace stasis::experiments {

struct EffectOptions {
  double significance = 0.05;  // Two-sided.
  double power = 0.8;
};

// The smallest relative difference between the medians of two cells that an experiment with
// `trials` trials a cell and the spread of `sample` detects with the given power: 0.1 means that
// differences below 10 % would usually be missed. Normal approximation with the robust standard
// deviation; the median's standard error is sqrt(pi / 2) times the mean's. The sample's median must
// be positive.
double minimum_detectable_effect(std::span<const double> sample, std::size_t trials,
                                 const EffectOptions& options = {});

// Of two cells that are compared: their robust standard deviations and sizes may differ. Relative
// to the median of `before`, which must be positive.
double minimum_detectable_effect(std::span<const double> before, std::span<const double> after,
                                 const EffectOptions& options = {});

// Cliff's delta (Cliff 1993, "Dominance statistics"): how much likelier a value of `after` is above
// one of `before` than below it, from -1 (always below) to 1 (always above); 0: neither. Says how
// far two distributions are apart whatever their shapes. Neither may be empty.
double cliffs_delta(std::span<const double> before, std::span<const double> after);

}  // namespace stasis::experiments
