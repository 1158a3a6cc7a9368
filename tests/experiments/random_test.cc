#include "experiments/stats/random.h"

#include <algorithm>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

namespace stasis::experiments {
namespace {

// SplitMix64(0) begins with e220a8397b1dcdaf 6e789e6aa1b965f4 06c45d188009454f f88bb8a8724c81ec
// (the published test vector), and xoshiro256** from that state with rotl(5 * s[1], 7) * 9.
TEST(Random, SeedZeroBeginsWithThePublishedNumber) {
  EXPECT_EQ(Random(0).next(), 0x99EC5F36CB75F2B4U);
}

TEST(Random, TheSequenceOfASeedNeverChanges) {
  Random first(1);
  Random again(1);
  Random other(2);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t value = first.next();
    EXPECT_EQ(value, again.next());
    differs = differs || value != other.next();
  }
  EXPECT_TRUE(differs);
}

TEST(Random, BelowIsUniformAndInRange) {
  Random random(7);
  std::array<int, 10> counts = {};
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    ++counts.at(random.below(10));
  }
  double chi_squared = 0;
  for (const int count : counts) {
    chi_squared += (count - kDraws / 10.0) * (count - kDraws / 10.0) / (kDraws / 10.0);
  }
  EXPECT_LT(chi_squared, 27.88);  // 99.9 % point with 9 degrees of freedom.
}

TEST(Random, UniformLiesInTheUnitIntervalWithMeanOneHalf) {
  Random random(9);
  double sum = 0;
  for (int i = 0; i < 100000; ++i) {
    const double value = random.uniform();
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    sum += value;
  }
  EXPECT_NEAR(sum / 100000, 0.5, 0.005);
}

TEST(Random, ShuffleKeepsTheItemsAndReachesEveryOrder) {
  std::set<std::vector<int>> orders;
  Random random(3);
  for (int i = 0; i < 500; ++i) {
    std::vector<int> items = {1, 2, 3, 4};
    random.shuffle(items);
    orders.insert(items);
    std::sort(items.begin(), items.end());
    EXPECT_EQ(items, (std::vector<int>{1, 2, 3, 4}));
  }
  EXPECT_EQ(orders.size(), 24U);
}

TEST(Random, DerivedSeedsDiffer) {
  std::set<std::uint64_t> seeds;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    for (std::uint64_t index = 0; index < 100; ++index) {
      seeds.insert(Random::derive(seed, index));
    }
  }
  EXPECT_EQ(seeds.size(), 1000U);
}

}  // namespace
}  // namespace stasis::experiments
