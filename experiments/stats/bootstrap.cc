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

// Leave-one-out values of a statistic.
std::vector<double> jackknife(std::span<const double> sample, const Statistic& statistic) {
  std::vector<double> values;
  values.reserve(sample.size());
  std::vector<double> rest(sample.begin() + 1, sample.end());
  for (std::size_t left_out = 0; left_out < sample.size(); ++left_out) {
    values.push_back(statistic(rest));
    if (left_out < rest.size()) {
      rest[left_out] = sample[left_out];
    }
  }
  return values;
}

// What leave-one-out values add to the sums that the acceleration is made of.
struct Skew {
  double squares = 0, cubes = 0;
  void add(std::span<const double> leave_one_out, double weight) {
    const double center = mean(leave_one_out);
    for (const double value : leave_one_out) {
      const double deviation = (center - value) * weight;
      squares += deviation * deviation;
      cubes += deviation * deviation * deviation;
    }
  }
  [[nodiscard]] double acceleration() const {
    return squares == 0 ? 0 : cubes / (6 * std::pow(squares, 1.5));
  }
};

// a: the skewness of the statistic, by the jackknife.
double acceleration(std::span<const double> sample, const Statistic& statistic) {
  Skew skew;
  skew.add(jackknife(sample, statistic), 1);
  return skew.acceleration();
}

// BCa's end points in the sorted replicates.
Interval interval_of(const std::vector<double>& replicates, double estimate, double a,
                     double confidence) {
  const double z0 = bias_correction(replicates, estimate);
  const auto endpoint = [&](double probability) {
    const double z = z0 + normal_quantile(probability);
    const double adjusted = normal_cdf(z0 + z / (1 - a * z));
    return quantile(replicates, std::clamp(adjusted, 0.0, 1.0));
  };
  const double tail = (1 - confidence) / 2;
  const double low = endpoint(tail);
  const double high = endpoint(1 - tail);
  return Interval{.estimate = estimate, .low = std::min(low, high), .high = std::max(low, high)};
}

bool has_spread(std::span<const double> sample) {
  const auto [least, greatest] = std::minmax_element(sample.begin(), sample.end());
  return sample.size() > 1 && *least != *greatest;
}

void draw(std::span<const double> sample, Random& random, std::vector<double>& resample) {
  for (double& value : resample) {
    value = sample[random.below(sample.size())];
  }
}

}  // namespace

Interval bootstrap(std::span<const double> sample, const Statistic& statistic,
                   const BootstrapOptions& options) {
  STASIS_CHECK(!sample.empty() && options.resamples > 0);
  STASIS_CHECK(options.confidence > 0 && options.confidence < 1);
  const double estimate = statistic(sample);
  if (!has_spread(sample)) {
    return Interval{.estimate = estimate, .low = estimate, .high = estimate};
  }
  return interval_of(replicate(sample, statistic, options), estimate,
                     acceleration(sample, statistic), options.confidence);
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

Interval bootstrap_ratio_of_medians(std::span<const double> numerators,
                                    std::span<const double> denominators,
                                    const BootstrapOptions& options) {
  STASIS_CHECK(!numerators.empty() && !denominators.empty() && options.resamples > 0);
  const double above = median(numerators);
  const double below = median(denominators);
  STASIS_CHECK(below != 0);
  const double estimate = above / below;
  if (!has_spread(numerators) && !has_spread(denominators)) {
    return Interval{.estimate = estimate, .low = estimate, .high = estimate};
  }
  Random random(options.seed);
  std::vector<double> above_sample(numerators.size());
  std::vector<double> below_sample(denominators.size());
  std::vector<double> replicates;
  replicates.reserve(options.resamples);
  for (std::uint32_t i = 0; i < options.resamples; ++i) {
    draw(numerators, random, above_sample);
    draw(denominators, random, below_sample);
    replicates.push_back(median(above_sample) / median(below_sample));
  }
  std::sort(replicates.begin(), replicates.end());
  Skew skew;
  const auto add = [&](std::span<const double> sample, const Statistic& ratio) {
    if (sample.size() > 1) {
      const auto size = static_cast<double>(sample.size());
      skew.add(jackknife(sample, ratio), (size - 1) / size);
    }
  };
  add(numerators, [&](std::span<const double> rest) { return median(rest) / below; });
  add(denominators, [&](std::span<const double> rest) { return above / median(rest); });
  return interval_of(replicates, estimate, skew.acceleration(), options.confidence);
}

}  // namespace stasis::experiments
