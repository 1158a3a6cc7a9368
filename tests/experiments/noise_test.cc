#include "experiments/harness/noise.h"

#include <gtest/gtest.h>

namespace stasis::experiments {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

NoiseSample quiet_at(std::int64_t seconds) {
  return {.at = seconds * kSecond, .cpus = 2};
}

TEST(Noise, AQuietHostTaintsNothing) {
  EXPECT_TRUE(judge_noise(quiet_at(10), quiet_at(12), {}).reasons.empty());
}

TEST(Noise, PressureAboveTheGateTaints) {
  NoiseSample after = quiet_at(11);
  after.psi_cpu_avg10 = 10.5;
  const NoiseReading reading = judge_noise(quiet_at(10), after, {});
  ASSERT_EQ(reading.reasons.size(), 1U);
  EXPECT_EQ(reading.reasons[0], "CPU pressure avg10: 10.5 % > 10.0 %");
  after.psi_cpu_avg10 = 9.9;
  EXPECT_TRUE(judge_noise(quiet_at(10), after, {}).reasons.empty());
}

TEST(Noise, StealIsAShareOfAllCpuTimeOfTheWindow) {
  NoiseSample after = quiet_at(12);
  after.steal_ns = kSecond / 5;  // 0.2 s of 2 CPUs * 2 s.
  const NoiseReading reading = judge_noise(quiet_at(10), after, {});
  EXPECT_DOUBLE_EQ(reading.steal_share, 0.05);
  ASSERT_EQ(reading.reasons.size(), 1U);
  EXPECT_EQ(reading.reasons[0], "steal: 5.0 % > 2.0 %");
}

TEST(Noise, OwnWorkIsNotForeignWork) {
  NoiseSample after = quiet_at(12);
  after.busy_ns = 3 * kSecond;
  after.own_cpu_ns = 3 * kSecond;
  EXPECT_TRUE(judge_noise(quiet_at(10), after, {}).reasons.empty());
  after.own_cpu_ns = 2 * kSecond;
  const NoiseReading reading = judge_noise(quiet_at(10), after, {});
  EXPECT_DOUBLE_EQ(reading.foreign_cpus, 0.5);
  ASSERT_EQ(reading.reasons.size(), 1U);
  EXPECT_EQ(reading.reasons[0], "other programs: 0.50 CPUs > 0.25");
}

TEST(Noise, LoadMayReachTheNumberOfCpusBecauseTheTrialsAreLoad) {
  NoiseSample after = quiet_at(11);
  after.load_average = 2.4;
  EXPECT_TRUE(judge_noise(quiet_at(10), after, {}).reasons.empty());
  after.load_average = 2.6;
  EXPECT_EQ(judge_noise(quiet_at(10), after, {}).reasons.size(), 1U);
}

TEST(Noise, KernelTextIsParsed) {
  NoiseSample sample;
  ASSERT_TRUE(
      parse_pressure("some avg10=12.34 avg60=1.00 avg300=0.14 total=8245289\n"
                     "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
                     sample));
  EXPECT_DOUBLE_EQ(sample.psi_cpu_avg10, 12.34);
  EXPECT_EQ(sample.psi_cpu_ns, 8245289000);
  EXPECT_TRUE(sample.has_psi);
  ASSERT_TRUE(parse_stat("cpu  100 20 30 4000 50 6 7 8 9 10\ncpu0 1 2 3\n", 10'000'000, sample));
  EXPECT_EQ(sample.busy_ns, std::int64_t{100 + 20 + 30 + 6 + 7} * 10'000'000);
  EXPECT_EQ(sample.steal_ns, std::int64_t{8} * 10'000'000);
}

TEST(Noise, OtherTextIsRefused) {
  NoiseSample sample;
  EXPECT_FALSE(parse_pressure("", sample));
  EXPECT_FALSE(parse_pressure("full avg10=1 total=2\n", sample));
  EXPECT_FALSE(parse_pressure("some avg60=1\n", sample));
  EXPECT_FALSE(sample.has_psi);
  EXPECT_FALSE(parse_stat("cpu 1 2 3\n", 1, sample));
  EXPECT_FALSE(parse_stat("intr 1 2 3 4 5 6 7 8\n", 1, sample));
}

TEST(Noise, TheMonitorSeesItsOwnCpuTimeAsItsOwn) {
  NoiseMonitor monitor;
  const NoiseSample before = sample_noise();
  // 200 ms of CPU time of this thread, however long that takes on a busy host.
  std::uint64_t steps = 0;
  NoiseSample after = before;
  while (after.own_cpu_ns - before.own_cpu_ns < kSecond / 5) {
    ++steps;
    after = sample_noise();
  }
  EXPECT_GT(steps, 0U);
  // All of it was also counted as busy, so that it cancels; ticks of 10 ms allow for some error.
  EXPECT_GE(after.busy_ns - before.busy_ns, kSecond / 10);
  const NoiseReading reading = monitor.judge();
  EXPECT_GE(reading.window_s, 0.19);
  EXPECT_GE(reading.foreign_cpus, 0);
}

}  // namespace
}  // namespace stasis::experiments
