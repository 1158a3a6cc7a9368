#include "experiments/stats/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "core/check.h"
#include "experiments/stats/descriptive.h"
#include "experiments/stats/normal.h"
#include "experiments/stats/random.h"

namespace stasis::experiments {
namespace {

using Statistic = std::function<double(std::span<const double>)>;

std::vector<double> replicate(std::span<const double> sample, const Statistic& statistic,
                              const BootstrapOptions& options) {
  Random random(options.seed);
  std::vector<double> resample(sample.size());
  std::vector<double> replicates;
  replicates.reserve(options.resamples);
  for (std::uint32_t i = 0; i < options.resamples; ++i) {
    for (double& value : resample) {
      value = sample[random.below(sample.size())];
    }
    replicates.push_back(statistic(resample));
  }
  std::sort(replicates.begin(), replicates.end());
  return replicates;
}

// z0: how far the estimate lies from the middle of its replicates, in standard deviations. Half of
// the ties count as below: with few distinct values, as for a median, counting none would shift the
// interval.
double bias_correction(const std::vector<double>& replicates, double estimate) {
  const auto [first, last] = std::equal_range(replicates.begin(), replicates.end(), estimate);
  const auto below = static_cast<double>(first - replicates.begin());
  const auto ties = static_cast<double>(last - first);
  const auto total = static_cast<double>(replicates.size());
  const double share = (below + ties / 2) / total;
  const double margin = 1 / (total + 1);
  return normal_quantile(std::clamp(share, margin, 1 - margin));
}

// a: the skewness of the statistic, by the jackknife.
double acceleration(std::span<const double> sample, const Statistic& statistic) {
  std::vector<double> jackknife;
  jackknife.reserve(sample.size());
  std::vector<double> rest(sample.begin() + 1, sample.end());
  for (std::size_t left_out = 0; left_out < sample.size(); ++left_out) {
    jackknife.push_back(statistic(rest));
    if (left_out < rest.size()) {
      rest[left_out] = sample[left_out];
    }
  }
  const double center = mean(jackknife);
  double squares = 0;
  double cubes = 0;
  for (const double value : jackknife) {
    const double deviation = center - value;
    squares += deviation * deviation;
    cubes += deviation * deviation * deviation;
  }
  return squares == 0 ? 0 : cubes / (6 * std::pow(squares, 1.5));
}

}  // namespace

Interval bootstrap(std::span<const double> sample, const Statistic& statistic,
                   const BootstrapOptions& options) {
  STASIS_CHECK(!sample.empty() && options.resamples > 0);
  STASIS_CHECK(options.confidence > 0 && options.confidence < 1);
  const double estimate = statistic(sample);
  const auto [least, greatest] = std::minmax_element(sample.begin(), sample.end());
  if (sample.size() < 2 || *least == *greatest) {
    return Interval{.estimate = estimate, .low = estimate, .high = estimate};
  }
  const std::vector<double> replicates = replicate(sample, statistic, options);
  const double z0 = bias_correction(replicates, estimate);
  const double a = acceleration(sample, statistic);
  const auto endpoint = [&](double probability) {
    const double z = z0 + normal_quantile(probability);
    const double adjusted = normal_cdf(z0 + z / (1 - a * z));
    return quantile(replicates, std::clamp(adjusted, 0.0, 1.0));
  };
  const double tail = (1 - options.confidence) / 2;
  const double low = endpoint(tail);
  const double high = endpoint(1 - tail);
  return Interval{.estimate = estimate, .low = std::min(low, high), .high = std::max(low, high)};
}

Interval bootstrap_median(std::span<const double> sample, const BootstrapOptions& options) {
  return bootstrap(
      sample, [](std::span<const double> values) { return median(values); }, options);
}

Interval bootstrap_median_ratio(std::span<const double> numerators,
                                std::span<const double> denominators,
                                const BootstrapOptions& options) {
  STASIS_CHECK(numerators.size() == denominators.size());
  std::vector<double> ratios;
  ratios.reserve(numerators.size());
  for (std::size_t i = 0; i < numerators.size(); ++i) {
    STASIS_CHECK(denominators[i] != 0);
    ratios.push_back(numerators[i] / denominators[i]);
  }
  return bootstrap_median(ratios, options);
}

}  // namespace stasis::experiments
