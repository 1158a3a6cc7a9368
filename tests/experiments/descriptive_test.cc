#include "experiments/stats/descriptive.h"

#include <array>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "experiments/stats/normal.h"

namespace stasis::experiments {
namespace {

TEST(Descriptive, MedianOfAnOddAndAnEvenNumberOfValues) {
  EXPECT_DOUBLE_EQ(median(std::array{5.0, 1.0, 3.0}), 3.0);
  EXPECT_DOUBLE_EQ(median(std::array{4.0, 1.0, 3.0, 2.0}), 2.5);
  EXPECT_DOUBLE_EQ(median(std::array{42.0}), 42.0);
}

// numpy.quantile([15, 20, 35, 40, 50], p), its default method.
TEST(Descriptive, QuantilesInterpolateAsTypeSeven) {
  const std::array sample = {50.0, 15.0, 40.0, 20.0, 35.0};
  EXPECT_DOUBLE_EQ(quantile(sample, 0), 15);
  EXPECT_DOUBLE_EQ(quantile(sample, 0.05), 16);
  EXPECT_DOUBLE_EQ(quantile(sample, 0.3), 23);
  EXPECT_DOUBLE_EQ(quantile(sample, 0.4), 29);
  EXPECT_DOUBLE_EQ(quantile(sample, 0.9), 46);
  EXPECT_DOUBLE_EQ(quantile(sample, 1), 50);
}

// The textbook example: {1, 1, 2, 2, 4, 6, 9} has median 2 and absolute deviations
// {1, 1, 0, 0, 2, 4, 7}, whose median is 1.
TEST(Descriptive, MedianAbsoluteDeviationOfTheTextbookExample) {
  const std::array sample = {1.0, 1.0, 2.0, 2.0, 4.0, 6.0, 9.0};
  EXPECT_DOUBLE_EQ(median_absolute_deviation(sample), 1);
  EXPECT_NEAR(robust_standard_deviation(sample), 1.4826, 1e-4);
}

TEST(Descriptive, StandardDeviationDividesByNMinusOne) {
  EXPECT_DOUBLE_EQ(mean(std::array{2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0}), 5);
  EXPECT_NEAR(standard_deviation(std::array{2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0}),
              std::sqrt(32.0 / 7.0), 1e-12);
  EXPECT_DOUBLE_EQ(standard_deviation(std::array{3.0}), 0);
}

TEST(Descriptive, GeometricMeanOfSpeedUpsAndTheirInversesIsOne) {
  EXPECT_NEAR(geometric_mean(std::array{2.0, 0.5, 4.0, 0.25}), 1, 1e-12);
  EXPECT_NEAR(geometric_mean(std::array{1.0, 10.0, 100.0}), 10, 1e-12);
}

TEST(Descriptive, TheSampleStaysInItsOrder) {
  const std::vector<double> sample = {3, 1, 2};
  static_cast<void>(median(sample));
  EXPECT_EQ(sample, (std::vector<double>{3, 1, 2}));
}

// Abramowitz and Stegun, tables 26.1 and 26.5.
TEST(Normal, DistributionAndQuantileMatchPublishedTables) {
  EXPECT_NEAR(normal_cdf(0), 0.5, 1e-15);
  EXPECT_NEAR(normal_cdf(1), 0.841344746068543, 1e-12);
  EXPECT_NEAR(normal_cdf(-3), 0.001349898031630, 1e-12);
  EXPECT_NEAR(normal_quantile(0.975), 1.959963984540054, 1e-10);
  EXPECT_NEAR(normal_quantile(0.8), 0.841621233572914, 1e-10);
  EXPECT_NEAR(normal_quantile(1e-10), -6.361340902404056, 1e-8);
}

TEST(Normal, QuantileInvertsTheDistribution) {
  for (double p = 0.0005; p < 1; p += 0.0101) {
    EXPECT_NEAR(normal_cdf(normal_quantile(p)), p, 1e-12) << p;
  }
}

}  // namespace
}  // namespace stasis::experiments
