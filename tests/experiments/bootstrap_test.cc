#include "experiments/stats/bootstrap.h"

#include <array>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "experiments/stats/descriptive.h"
#include "experiments/stats/normal.h"
#include "experiments/stats/random.h"

namespace stasis::experiments {
namespace {

double standard_normal(Random& random) {
  return normal_quantile(std::min(1 - 1e-12, std::max(1e-12, random.uniform())));
}

TEST(Bootstrap, TheSameSeedGivesTheSameInterval) {
  const std::array sample = {3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0, 6.0};
  const Interval first = bootstrap_median(sample, {.seed = 5});
  const Interval again = bootstrap_median(sample, {.seed = 5});
  EXPECT_EQ(first.low, again.low);
  EXPECT_EQ(first.high, again.high);
  EXPECT_DOUBLE_EQ(first.estimate, 3.5);
  EXPECT_LT(first.low, first.estimate);
  EXPECT_GT(first.high, first.estimate);
}

TEST(Bootstrap, ASampleWithoutSpreadHasAnIntervalOfNoWidth) {
  const Interval same = bootstrap_median(std::array{2.0, 2.0, 2.0});
  EXPECT_EQ(same.low, 2.0);
  EXPECT_EQ(same.high, 2.0);
  const Interval single = bootstrap_median(std::array{7.0});
  EXPECT_EQ(single.low, 7.0);
  EXPECT_EQ(single.high, 7.0);
}

TEST(Bootstrap, TwoValuesDoNotBreakIt) {
  const Interval interval = bootstrap_median(std::array{1.0, 3.0});
  EXPECT_DOUBLE_EQ(interval.estimate, 2.0);
  EXPECT_GE(interval.low, 1.0);
  EXPECT_LE(interval.high, 3.0);
}

// For the mean of a large normal sample BCa must agree with the textbook interval
// mean +- 1.96 s / sqrt(n).
TEST(Bootstrap, TheMeanOfANormalSampleHasTheTextbookInterval) {
  Random random(11);
  std::vector<double> sample(400);
  for (double& value : sample) {
    value = 10 + 2 * standard_normal(random);
  }
  const Interval interval = bootstrap(
      sample, [](std::span<const double> values) { return mean(values); }, {.resamples = 8000});
  const double error = 1.96 * standard_deviation(sample) / std::sqrt(400.0);
  EXPECT_NEAR(interval.low, mean(sample) - error, 0.1 * error);
  EXPECT_NEAR(interval.high, mean(sample) + error, 0.1 * error);
}

// A statistic with a known skew: the BCa interval of the variance reaches further up than down,
// where the plain normal interval is symmetric.
TEST(Bootstrap, ASkewedStatisticHasASkewedInterval) {
  Random random(21);
  std::vector<double> sample(30);
  for (double& value : sample) {
    value = standard_normal(random);
  }
  const Interval interval = bootstrap(sample, [](std::span<const double> values) {
    const double deviation = standard_deviation(values);
    return deviation * deviation;
  });
  EXPECT_GT(interval.high - interval.estimate, 1.2 * (interval.estimate - interval.low));
}

// The promise itself: 95 % intervals hold the true value in about 95 % of experiments. Lognormal
// samples, as latencies are; 400 experiments have a standard error of 1.1 %, the band is wider
// because BCa is only second-order accurate at n = 30.
TEST(Bootstrap, NinetyFivePercentIntervalsOfTheMedianCoverTheTrueMedian) {
  constexpr int kExperiments = 400;
  int covered = 0;
  for (int experiment = 0; experiment < kExperiments; ++experiment) {
    Random random(Random::derive(31, static_cast<std::uint64_t>(experiment)));
    std::vector<double> sample(30);
    for (double& value : sample) {
      value = std::exp(0.5 * standard_normal(random));  // Median 1.
    }
    const Interval interval = bootstrap_median(
        sample, {.resamples = 1000, .seed = static_cast<std::uint64_t>(experiment)});
    covered += interval.low <= 1 && 1 <= interval.high ? 1 : 0;
  }
  EXPECT_GE(covered, 364);  // 91 %
  EXPECT_LE(covered, 394);  // 98.5 %
}

TEST(Bootstrap, APairedRatioIgnoresDriftThatBothSidesShare) {
  Random random(41);
  std::vector<double> slow;
  std::vector<double> fast;
  for (int block = 0; block < 30; ++block) {
    const double drift = 1 + 3 * random.uniform();  // The host is up to four times slower.
    fast.push_back(100 * drift * (1 + 0.01 * random.uniform()));
    slow.push_back(120 * drift * (1 + 0.01 * random.uniform()));
  }
  const Interval ratio = bootstrap_median_ratio(slow, fast);
  EXPECT_NEAR(ratio.estimate, 1.2, 0.01);
  EXPECT_GT(ratio.low, 1.19);
  EXPECT_LT(ratio.high, 1.21);
  const Interval alone = bootstrap_median(slow);
  EXPECT_GT(alone.high - alone.low, 30);  // Unpaired, the drift hides it.
}

TEST(BootstrapOfTwoSamples, TheRatioOfEqualSamplesIsOneAndTheIntervalContainsIt) {
  const std::array sample = {3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.0, 6.0};
  const Interval interval = bootstrap_ratio_of_medians(sample, sample, {.seed = 5});
  EXPECT_DOUBLE_EQ(interval.estimate, 1);
  EXPECT_LT(interval.low, 1);
  EXPECT_GT(interval.high, 1);
  const Interval again = bootstrap_ratio_of_medians(sample, sample, {.seed = 5});
  EXPECT_EQ(interval.low, again.low);
  EXPECT_EQ(interval.high, again.high);
}

TEST(BootstrapOfTwoSamples, SamplesWithoutSpreadGiveTheirRatioAlone) {
  const Interval interval =
      bootstrap_ratio_of_medians(std::array{6.0, 6.0}, std::array{2.0, 2.0, 2.0});
  EXPECT_EQ(interval.low, 3);
  EXPECT_EQ(interval.high, 3);
}

// What 95 % means: of many experiments with a known ratio, about 95 % of the intervals hold it.
TEST(BootstrapOfTwoSamples, ItsIntervalsHoldTheTrueRatioAsOftenAsTheySay) {
  constexpr int kExperiments = 200;
  int held = 0;
  for (int experiment = 0; experiment < kExperiments; ++experiment) {
    Random random(Random::derive(77, static_cast<std::uint64_t>(experiment)));
    const auto draw = [&](double center) {
      std::vector<double> sample(30);
      for (double& value : sample) {
        value = center * std::exp(0.2 * standard_normal(random));  // Skewed, as latencies are.
      }
      return sample;
    };
    const std::vector<double> above = draw(150);
    const std::vector<double> below = draw(100);
    const Interval interval =
        bootstrap_ratio_of_medians(above, below, {.resamples = 1000, .seed = 3});
    held += interval.low <= 1.5 && 1.5 <= interval.high ? 1 : 0;
  }
  EXPECT_GE(held, 180);  // 190 expected; 180 is more than three standard deviations below.
}

}  // namespace
}  // namespace stasis::experiments
