#include "experiments/stats/effect.h"

#include <array>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "experiments/stats/descriptive.h"
#include "experiments/stats/normal.h"
#include "experiments/stats/random.h"

namespace stasis::experiments {
namespace {

// By hand: median 10, MAD 1, robust standard deviation 1.4826; (1.95996 + 0.84162) * 1.253314 *
// sqrt(2 / 30) * 1.4826 / 10 = 0.13441.
TEST(MinimumDetectableEffect, MatchesTheFormulaByHand) {
  const std::array sample = {8.0, 9.0, 10.0, 11.0, 12.0};
  EXPECT_NEAR(minimum_detectable_effect(sample, 30), 0.13441, 2e-5);
}

TEST(MinimumDetectableEffect, FourTimesTheTrialsSeeHalfTheEffect) {
  const std::array sample = {8.0, 9.0, 10.0, 11.0, 12.0};
  EXPECT_NEAR(minimum_detectable_effect(sample, 25), 2 * minimum_detectable_effect(sample, 100),
              1e-12);
}

// The promise: shifting one cell by the effect is noticed in about 80 % of experiments.
TEST(MinimumDetectableEffect, AShiftOfThatSizeIsUsuallyNoticed) {
  constexpr int kExperiments = 300;
  constexpr std::size_t kTrials = 30;
  int noticed = 0;
  for (int experiment = 0; experiment < kExperiments; ++experiment) {
    Random random(Random::derive(51, static_cast<std::uint64_t>(experiment)));
    const auto draw = [&](double center) {
      std::vector<double> values(kTrials);
      for (double& value : values) {
        value = center * (1 + 0.1 * normal_quantile(0.001 + 0.998 * random.uniform()));
      }
      return values;
    };
    const double standard_error = std::sqrt(std::acos(-1.0) / 2) * 10 * std::sqrt(2.0 / kTrials);
    const double effect = (1.959964 + 0.841621) * standard_error / 100;
    const double difference = median(draw(100 * (1 + effect))) - median(draw(100));
    noticed += std::abs(difference) > 1.959964 * standard_error ? 1 : 0;
    if (experiment == 0) {  // The function under test agrees with the true effect on a big sample.
      Random big(52);
      std::vector<double> sample(20000);
      for (double& value : sample) {
        value = 100 * (1 + 0.1 * normal_quantile(0.001 + 0.998 * big.uniform()));
      }
      EXPECT_NEAR(minimum_detectable_effect(sample, kTrials), effect, 0.05 * effect);
    }
  }
  EXPECT_NEAR(noticed / double{kExperiments}, 0.8, 0.08);
}

TEST(MinimumDetectableEffect, OfTwoCellsAlikeIsThatOfOne) {
  const std::array sample = {8.0, 9.0, 10.0, 11.0, 12.0};
  EXPECT_NEAR(minimum_detectable_effect(sample, sample), minimum_detectable_effect(sample, 5),
              1e-12);
  const std::array steady = {10.0, 10.0, 10.0, 10.0, 10.0};
  EXPECT_NEAR(minimum_detectable_effect(sample, steady),
              minimum_detectable_effect(sample, 5) / std::sqrt(2.0), 1e-12);
}

// By hand: of the nine pairs six have a larger second value, two a smaller one and one none.
TEST(CliffsDelta, MatchesItsDefinitionByHand) {
  const std::array before = {1.0, 3.0, 5.0};
  const std::array after = {2.0, 5.0, 6.0};
  EXPECT_NEAR(cliffs_delta(before, after), (6.0 - 2.0) / 9.0, 1e-12);
  EXPECT_NEAR(cliffs_delta(after, before), -(6.0 - 2.0) / 9.0, 1e-12);
  EXPECT_EQ(cliffs_delta(before, before), 0);
  EXPECT_EQ(cliffs_delta(std::array{1.0}, std::array{2.0, 3.0}), 1);
}

}  // namespace
}  // namespace stasis::experiments
