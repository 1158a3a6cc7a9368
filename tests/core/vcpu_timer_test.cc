// The timer that takes a vCPU out of a guest. No test waits for a time to pass, only for a call.
#include "core/vcpu_timer.h"

#include <atomic>
#include <latch>

#include <gtest/gtest.h>

#include "tests/support/must.h"

namespace stasis::internal {
namespace {

constexpr MonotonicNs kHour = MonotonicNs{3600} * 1'000'000'000;

TEST(VcpuTimer, RingsOnceWhenTheTimeHasCome) {
  std::atomic<int> rung = 0;
  std::latch first(1), second(1);
  VcpuTimer timer([&] {
    const int count = ++rung;
    if (count == 1) {
      first.count_down();
    } else if (count == 2) {
      second.count_down();
    }
  });
  const MonotonicNs at = host_clock().now() + 2'000'000;
  must(timer.set(at));
  first.wait();
  EXPECT_GE(host_clock().now(), at);
  EXPECT_EQ(rung, 1);
  must(timer.set(host_clock().now()));
  second.wait();
  EXPECT_EQ(rung, 2);
}

TEST(VcpuTimer, AnEarlierTimeReplacesALaterOne) {
  std::latch rung(1);
  VcpuTimer timer([&] { rung.count_down(); });
  must(timer.set(host_clock().now() + kHour));
  must(timer.set(host_clock().now()));
  rung.wait();
}

TEST(VcpuTimer, ATimeThatWasTakenBackOrMovedDoesNotRing) {
  std::atomic<bool> may_ring = false;
  std::atomic<int> early = 0;
  std::latch rung(1);
  {
    VcpuTimer timer([&] {
      early += may_ring ? 0 : 1;
      rung.count_down();
    });
    must(timer.set(host_clock().now() + kHour));
    must(timer.set(std::nullopt));
    must(timer.set(host_clock().now() + 2 * kHour));
    may_ring = true;
    must(timer.set(host_clock().now()));
    rung.wait();
    must(timer.set(host_clock().now() + kHour));
  }  // Ends although it sleeps.
  EXPECT_EQ(early, 0);
}

TEST(VcpuTimer, OneThatIsNeverSetEndsToo) {
  VcpuTimer timer([] { FAIL(); });
  must(timer.set(std::nullopt));
}

}  // namespace
}  // namespace stasis::internal
