// Where a guest's counter stands, with invented numbers: no host is needed to know arithmetic.
#include "core/counter_relation.h"

#include <gtest/gtest.h>

namespace stasis {
namespace {

constexpr std::uint64_t kTop = UINT64_MAX;
constexpr std::uint32_t kKhz = 3'000'000;

TEST(CounterRelation, AGuestWithTheHostsCounterReadsTheHosts) {
  for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{12345}, kTop}) {
    const auto host = host_counter_at(value, kSameCounter);
    ASSERT_TRUE(host);
    EXPECT_EQ(host->value, value);
    EXPECT_EQ(host->error_ticks, 0U);
  }
}

TEST(CounterRelation, AnOffsetIsTakenOffAgain) {
  const CounterRelation ahead = relation_of_offset(500);
  EXPECT_EQ(host_counter_at(1500, ahead)->value, 1000U);
  EXPECT_EQ(host_counter_at(1500, ahead)->error_ticks, 0U);
}

TEST(CounterRelation, ANewVmsOffsetIsNegativeAndWrapsRound) {
  // The host has run for a day when the VM is created, and its counter starts at 0.
  const std::uint64_t created = 3'000'000'000ULL * 86'400;
  const CounterRelation fresh = relation_of_offset(0 - created);
  EXPECT_EQ(host_counter_at(0, fresh)->value, created);
  EXPECT_EQ(host_counter_at(40'000, fresh)->value, created + 40'000);
  // Before its 0 the guest's counter was near 2^64; so it is with MSRs written backwards.
  EXPECT_EQ(host_counter_at(kTop, fresh)->value, created - 1);
}

TEST(CounterRelation, AGuestsCounterMayWrapWhileItRuns) {
  const CounterRelation near_the_end = relation_of_offset(kTop - 10'000);
  EXPECT_EQ(host_counter_at(kTop, near_the_end)->value, 10'000U);
  EXPECT_EQ(host_counter_at(4, near_the_end)->value, 10'005U);
}

TEST(CounterRelation, ABracketIsAsUncertainAsHalfItsWidth) {
  const auto even = relation_of_bracket(1000, 77, 1600, kKhz, kKhz);
  ASSERT_TRUE(even);
  EXPECT_EQ(host_counter_at(77, *even)->value, 1300U);
  EXPECT_EQ(host_counter_at(77, *even)->error_ticks, 300U);
  EXPECT_EQ(host_counter_at(177, *even)->value, 1400U);
  EXPECT_EQ(host_counter_at(7, *even)->value, 1230U) << "noted before the bracket";
  const auto odd = relation_of_bracket(1000, 77, 1601, kKhz, kKhz);
  ASSERT_TRUE(odd);
  EXPECT_EQ(odd->host, 1300U);
  EXPECT_EQ(odd->error_ticks, 301U) << "1601 is 301 away";
}

TEST(CounterRelation, ABracketOfALateCounterIsNotCutShort) {
  const auto late = relation_of_bracket(kTop - 100, 5, kTop, kKhz, kKhz);
  ASSERT_TRUE(late);
  EXPECT_EQ(late->host, kTop - 50);
  EXPECT_EQ(late->error_ticks, 50U);
}

TEST(CounterRelation, BracketsOutOfOrderOrWithoutARateAreRefused) {
  EXPECT_FALSE(relation_of_bracket(1001, 77, 1000, kKhz, kKhz));
  EXPECT_FALSE(relation_of_bracket(1000, 77, 1600, 0, kKhz));
  EXPECT_FALSE(relation_of_bracket(1000, 77, 1600, kKhz, 0));
  EXPECT_FALSE(host_counter_at(5, {.guest_khz = 0, .host_khz = kKhz}));
  EXPECT_FALSE(host_counter_at(5, {.guest_khz = kKhz, .host_khz = 0}));
}

TEST(CounterRelation, AScaledCounterIsConvertedAtItsRate) {
  // The guest was saved on a host of 2 GHz and runs on one of 3 GHz: 2 of its ticks are 3.
  const auto scaled = relation_of_bracket(9'000'000, 1'000, 9'000'200, 2'000'000, 3'000'000);
  ASSERT_TRUE(scaled);
  const auto later = host_counter_at(1'000 + 2'000'000, *scaled);
  ASSERT_TRUE(later);
  EXPECT_EQ(later->value, 9'000'100U + 3'000'000U);
  EXPECT_EQ(later->error_ticks, 100U + 1U) << "a millisecond adds no more than the rounding";
  const auto earlier = host_counter_at(0, *scaled);
  ASSERT_TRUE(earlier);
  EXPECT_EQ(earlier->value, 9'000'100U - 1'500U);
}

TEST(CounterRelation, TheErrorOfAScaledCounterGrowsWithTheDistance) {
  const auto scaled = relation_of_bracket(0, 0, 0, 1'000'000, 2'000'000);
  ASSERT_TRUE(scaled);
  const auto minute = host_counter_at(60'000'000'000, *scaled);
  ASSERT_TRUE(minute);
  EXPECT_EQ(minute->value, 120'000'000'000U);
  // The ratio's last place is worth 2^-32 of 1, here of 1/2: 56 ticks of 120e9.
  EXPECT_GE(minute->error_ticks, 56U);
  EXPECT_LE(minute->error_ticks, 1000U) << "still below a microsecond";
}

TEST(CounterRelation, AScaledCounterOfAnotherCenturyIsRefused) {
  const auto scaled = relation_of_bracket(0, 0, 0, 1, 4'000'000);
  ASSERT_TRUE(scaled);
  EXPECT_FALSE(host_counter_at(std::uint64_t{1} << 62U, *scaled));
  EXPECT_FALSE(host_counter_at(std::uint64_t{1} << 63U, *scaled)) << "the most negative distance";
}

}  // namespace
}  // namespace stasis
