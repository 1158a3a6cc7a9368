#include "experiments/stats/regression.h"

#include <array>

#include <gtest/gtest.h>

namespace stasis::experiments {
namespace {

TEST(LinearFit, APerfectLineIsFound) {
  const LinearFit fit = linear_fit(std::array{0.0, 1.0, 2.0, 3.0}, std::array{5.0, 7.0, 9.0, 11.0});
  EXPECT_NEAR(fit.slope, 2, 1e-12);
  EXPECT_NEAR(fit.intercept, 5, 1e-12);
  EXPECT_NEAR(fit.r_squared, 1, 1e-12);
  EXPECT_NEAR(fit.residual_standard_deviation, 0, 1e-12);
}

// Anscombe's first data set (1973): y = 3.0001 + 0.5001 x, R^2 = 0.6665.
TEST(LinearFit, AnscombesFirstDataSetHasThePublishedLine) {
  const std::array x = {10.0, 8.0, 13.0, 9.0, 11.0, 14.0, 6.0, 4.0, 12.0, 7.0, 5.0};
  const std::array y = {8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68};
  const LinearFit fit = linear_fit(x, y);
  EXPECT_NEAR(fit.intercept, 3.0001, 5e-5);
  EXPECT_NEAR(fit.slope, 0.5001, 5e-5);
  EXPECT_NEAR(fit.r_squared, 0.6665, 5e-5);
  EXPECT_NEAR(fit.residual_standard_deviation, 1.2366, 5e-5);
  EXPECT_NEAR(fit.slope_standard_error, 0.1179, 5e-5);
}

TEST(LinearFit, ScatterWithoutTrendHasNoExplanation) {
  const LinearFit fit =
      linear_fit(std::array{1.0, 2.0, 3.0, 4.0}, std::array{1.0, -1.0, -1.0, 1.0});
  EXPECT_NEAR(fit.slope, 0, 1e-12);
  EXPECT_NEAR(fit.r_squared, 0, 1e-12);
}

TEST(LinearFit, AConstantIsExplainedCompletely) {
  const LinearFit fit = linear_fit(std::array{1.0, 2.0}, std::array{4.0, 4.0});
  EXPECT_EQ(fit.slope, 0);
  EXPECT_EQ(fit.r_squared, 1);
}

}  // namespace
}  // namespace stasis::experiments
