// The guest's clocks, when they follow the host's and when they follow a counter.
#include <gtest/gtest.h>

#include "guests/linux/kernel/guest_clock.h"

namespace stasis::linux_guest {
namespace {

class SetClock final : public Clock {
 public:
  [[nodiscard]] MonotonicNs now() const noexcept override { return now_ns; }
  [[nodiscard]] std::int64_t wall_ns() const noexcept override { return wall; }
  std::int64_t now_ns = 1'000'000;
  std::int64_t wall = 1'700'000'000'000'000'000;
};

class GuestClockTest : public testing::Test {
 protected:
  // Both clocks of the host, and a counter of 2 GHz.
  void pass(std::int64_t ns) {
    host.now_ns += ns;
    host.wall += ns;
    counter += static_cast<std::uint64_t>(ns) * 2;
  }
  CounterTime follow() {
    return clock.follow([this] { return counter; }, 2'000'000);
  }
  SetClock host;
  std::uint64_t counter = 0x1'0000'0000;
  GuestClock clock{host};
};

TEST_F(GuestClockTest, NeitherClockJumpsWhenTheyBeginToFollowACounter) {
  pass(5000);
  EXPECT_EQ(clock.monotonic_ns(), 5000);
  const CounterTime time = follow();
  EXPECT_EQ(time.counter, counter);
  EXPECT_EQ(time.monotonic_ns, 5000);
  EXPECT_EQ(time.real_ns, host.wall);
  EXPECT_EQ(time.multiplier, std::uint64_t{1} << 31U) << "half a nanosecond";
  EXPECT_EQ(clock.monotonic_ns(), 5000);
  counter += 10;
  EXPECT_EQ(clock.monotonic_ns(), 5005) << "whatever the host's clock says";
  EXPECT_EQ(clock.real_ns(), host.wall + 5);
}

TEST_F(GuestClockTest, YearsOfCountsDoNotOverflowAndACounterThatIsBehindIsNoTime) {
  follow();
  constexpr std::int64_t kYears = 20LL * 365 * 86'400 * kNsPerSecond;
  counter += static_cast<std::uint64_t>(kYears) * 2;
  EXPECT_EQ(clock.monotonic_ns(), kYears);
  counter = 0;
  EXPECT_EQ(clock.monotonic_ns(), 0);
}

TEST_F(GuestClockTest, RealTimeIsCorrectedButNotSetBackByAMoment) {
  follow();
  pass(kCorrectionNs / 2);
  host.wall += 10'000;
  EXPECT_EQ(clock.correct(), std::nullopt) << "not so soon";
  pass(kCorrectionNs / 2);
  const std::int64_t before = clock.monotonic_ns();
  const auto corrected = clock.correct();
  ASSERT_TRUE(corrected);
  EXPECT_EQ(corrected->real_ns, host.wall);
  EXPECT_EQ(corrected->monotonic_ns, before);
  EXPECT_EQ(clock.real_ns(), host.wall);
  EXPECT_EQ(clock.monotonic_ns(), before);
  pass(kCorrectionNs);
  host.wall -= kAheadNsMax / 2;
  EXPECT_EQ(clock.correct(), std::nullopt);
  EXPECT_EQ(clock.real_ns(), host.wall + kAheadNsMax / 2);
  pass(kCorrectionNs);
  host.wall -= kAheadNsMax;
  ASSERT_TRUE(clock.correct());
  EXPECT_EQ(clock.real_ns(), host.wall) << "somebody has set the host's clock";
}

TEST_F(GuestClockTest, AfterALoadTheyGoOnFromTheSavedTimeWithTheHostUntilTheyFollowAgain) {
  follow();
  pass(7000);
  EXPECT_EQ(clock.monotonic_ns(), 7000);
  GuestClock restored{host};
  restored.resume_at(7000, 3000);
  EXPECT_EQ(restored.monotonic_ns(), 7000);
  pass(100);
  EXPECT_EQ(restored.monotonic_ns(), 7100);
  EXPECT_EQ(restored.now_ns(ClockKind::kProcessor), 4100);
  std::uint64_t other = 12;  // Of another host, which has counted less.
  const CounterTime time = restored.follow([&other] { return other; }, 3'000'000);
  EXPECT_EQ(time.monotonic_ns, 7100);
  other += 300;
  EXPECT_EQ(restored.monotonic_ns(), 7199) << "a rate that is no binary fraction is rounded down";
}

TEST_F(GuestClockTest, ADeadlineOnTheHostsClockIsAsFarAwayAsOnTheGuests) {
  follow();
  pass(1000);
  host.now_ns += 77;  // The two have drifted apart.
  EXPECT_EQ(clock.on_host(clock.after(500)), host.now_ns + 500);
}

}  // namespace
}  // namespace stasis::linux_guest
