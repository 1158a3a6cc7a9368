#include "session/tsc_clock.h"

#include <gtest/gtest.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace stasis::session {
namespace {

constexpr TscAnchor kBefore{.tsc = 1'000'000, .at = 5'000, .error_ns = 20};
constexpr TscAnchor kAfter{.tsc = 4'000'000, .at = 6'000, .error_ns = 30};

TEST(TscClock, InterpolatesBetweenTheAnchors) {
  const auto middle = convert_tsc(2'500'000, kBefore, kAfter);
  ASSERT_TRUE(middle.has_value());
  EXPECT_EQ(middle->at, 5'500);
  EXPECT_EQ(convert_tsc(kBefore.tsc, kBefore, kAfter)->at, kBefore.at);
  EXPECT_EQ(convert_tsc(kAfter.tsc, kBefore, kAfter)->at, kAfter.at);
}

TEST(TscClock, IsAsUncertainAsTheWorseAnchor) {
  EXPECT_GE(convert_tsc(2'500'000, kBefore, kAfter)->error_ns, 30);
}

TEST(TscClock, RefusesReadingsFromBeforeOrAfter) {
  // A value that stood in the mailbox before the snapshot is older than the restore's begin.
  EXPECT_FALSE(convert_tsc(999'999, kBefore, kAfter).has_value());
  EXPECT_FALSE(convert_tsc(4'000'001, kBefore, kAfter).has_value());
  EXPECT_FALSE(convert_tsc(0, kBefore, kAfter).has_value());
}

TEST(TscClock, RefusesAnchorsOutOfOrder) {
  EXPECT_FALSE(convert_tsc(2'500'000, kAfter, kBefore).has_value());
  EXPECT_FALSE(convert_tsc(kBefore.tsc, kBefore, kBefore).has_value());
}

TEST(TscClock, KeepsNanosecondsOverAnHour) {
  const TscAnchor late{.tsc = kBefore.tsc + 3'000'000ULL * 3'600'000,
                       .at = kBefore.at + 3'600'000'000'000,
                       .error_ns = 0};
  const auto value = convert_tsc(kBefore.tsc + 3, kBefore, late);
  ASSERT_TRUE(value.has_value());
  EXPECT_EQ(value->at, kBefore.at + 1);  // 3 cycles at 3 GHz.
}

TEST(TscClock, AGuestsCounterIsTurnedIntoTheHostsFirst) {
  const auto shared = convert_guest_tsc(2'500'000, kSameCounter, kBefore, kAfter);
  ASSERT_TRUE(shared);
  EXPECT_EQ(shared->at, 5'500);
  EXPECT_EQ(shared->error_ns, convert_tsc(2'500'000, kBefore, kAfter)->error_ns);
  // A VM that was created when the host's counter stood at 2'000'000.
  const CounterRelation fresh = relation_of_offset(0ULL - 2'000'000);
  const auto converted = convert_guest_tsc(500'000, fresh, kBefore, kAfter);
  ASSERT_TRUE(converted);
  EXPECT_EQ(converted->at, 5'500);
  EXPECT_EQ(converted->error_ns, shared->error_ns);
}

TEST(TscClock, TheRelationsErrorIsInTheResults) {
  // 3000 ticks are a nanosecond between these anchors; 6001 are not within 2.
  const auto bracket = relation_of_bracket(2'000'000, 100, 2'000'000 + 2 * 6'001, 1, 1);
  const auto converted = convert_guest_tsc(100, *bracket, kBefore, kAfter);
  ASSERT_TRUE(converted);
  EXPECT_EQ(converted->error_ns, convert_tsc(2'006'001, kBefore, kAfter)->error_ns + 3);
}

TEST(TscClock, AGuestsReadingFromBeforeOrAfterIsRefused) {
  const CounterRelation fresh = relation_of_offset(0ULL - 2'000'000);
  EXPECT_FALSE(convert_guest_tsc(2'500'000, fresh, kBefore, kAfter));  // A host's, taken for one.
  EXPECT_FALSE(convert_guest_tsc(0ULL - 1'000'001, fresh, kBefore, kAfter));
  EXPECT_TRUE(convert_guest_tsc(0ULL - 1'000'000, fresh, kBefore, kAfter));
}

TEST(TscClock, ARelationThatIsWorseThanTheSpanIsRefused) {
  const auto vague = relation_of_bracket(0, 100, 2 * 3'000'002, 1, 1);
  EXPECT_FALSE(convert_guest_tsc(100, *vague, kBefore, kAfter));
  EXPECT_FALSE(convert_guest_tsc(100, {.guest_khz = 0, .host_khz = 1}, kBefore, kAfter));
}

#if defined(__x86_64__)
TEST(TscClock, AgreesWithTheHostClockWithinItsBound) {
  const auto before = take_tsc_anchor();
  ASSERT_TRUE(before.has_value());
  const Clock& clock = host_clock();
  unsigned int cpu = 0;
  // The tightest of many: a preempted reading says nothing about the conversion.
  MonotonicNs first = 0;
  MonotonicNs second = INT64_MAX;
  std::uint64_t tsc = 0;
  for (int i = 0; i < 1000; ++i) {
    const MonotonicNs low = clock.now();
    const std::uint64_t value = __rdtscp(&cpu);
    const MonotonicNs high = clock.now();
    if (high - low < second - first) {
      first = low;
      second = high;
      tsc = value;
    }
  }
  const auto after = take_tsc_anchor();
  ASSERT_TRUE(after.has_value());
  const auto converted = convert_tsc(tsc, *before, *after);
  ASSERT_TRUE(converted.has_value());
  EXPECT_GE(converted->at, first - converted->error_ns);
  EXPECT_LE(converted->at, second + converted->error_ns);
}
#endif

}  // namespace
}  // namespace stasis::session
