// Confidence intervals by resampling: no assumption about the distribution of latencies, which has
// a long right tail and often two modes.
//
// The method is BCa (bias-corrected and accelerated; Efron 1987, "Better bootstrap confidence
// intervals"). Everything is seeded: the same sample gives the same interval everywhere.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

namespace stasis::experiments {

struct BootstrapOptions {
  double confidence = 0.95;
  std::uint32_t resamples = 4000;
  std::uint64_t seed = 1;
};

// Value. low <= high; the estimate can lie outside only through rounding.
struct Interval {
  double estimate = 0;
  double low = 0, high = 0;
};

// BCa interval of `statistic`, which is called with samples as large as `sample` and must not
// depend on their order. A sample of one value, or one without spread, gives an interval of no
// width: it says nothing about the error.
Interval bootstrap(std::span<const double> sample,
                   const std::function<double(std::span<const double>)>& statistic,
                   const BootstrapOptions& options = {});

// The median of the sample.
Interval bootstrap_median(std::span<const double> sample, const BootstrapOptions& options = {});

// The median of numerators[i] / denominators[i]. The pairs were measured next to each other (same
// block), so drift of the host cancels. Equally many of both; denominators not 0. A difference is
// claimed only if the interval excludes 1.
Interval bootstrap_median_ratio(std::span<const double> numerators,
                                std::span<const double> denominators,
                                const BootstrapOptions& options = {});

// The same for two independent samples, which are resampled each for itself: of the ratio of their
// medians. No median of `denominators` or of a resample of it may be 0. The acceleration is that of
// the multi-sample problem (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", 14.3 and
// 22.6: each sample's leave-one-out values, weighted by its size).
Interval bootstrap_ratio_of_medians(std::span<const double> numerators,
                                    std::span<const double> denominators,
                                    const BootstrapOptions& options = {});

}  // namespace stasis::experiments
