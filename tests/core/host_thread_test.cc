#include "core/host_thread.h"

#include <sched.h>

#include <atomic>
#include <latch>
#include <utility>

#include <gtest/gtest.h>

#include "tests/support/must.h"

namespace stasis {
namespace {

TEST(HostThread, JoinsWhenItIsDestroyed) {
  std::atomic<bool> done = false;
  {
    const HostThread thread = must(HostThread::start("a test", [&] { done.store(true); }));
    EXPECT_TRUE(thread.joinable());
  }
  EXPECT_TRUE(done.load());
}

TEST(HostThread, MovesWithItsThreadAndJoinsTheOneItReplaces) {
  std::atomic<int> ended = 0;
  HostThread first = must(HostThread::start("a test", [&] { ended.fetch_add(1); }));
  first = must(HostThread::start("a test", [&] { ended.fetch_add(1); }));
  EXPECT_GE(ended.load(), 1);
  HostThread second = std::move(first);
  EXPECT_FALSE(
      first.joinable());  // NOLINT(bugprone-use-after-move): what a move leaves is promised.
  second.join();
  second.join();
  EXPECT_EQ(ended.load(), 2);
  EXPECT_FALSE(second.joinable());
}

#if defined(__linux__)
// The creator never sleeps until the thread has begun: on one CPU this would need its time slice to
// end, on several the thread begins elsewhere.
TEST(HostThread, BeginsWhileItsCreatorIsBusyAndMayThenRunAnywhereItsCreatorMay) {
  cpu_set_t mine;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(mine), &mine), 0);
  std::atomic<bool> begun = false;
  cpu_set_t its;
  CPU_ZERO(&its);
  HostThread thread = must(HostThread::start("a test", [&] {
    EXPECT_EQ(::sched_getaffinity(0, sizeof(its), &its), 0);
    begun.store(true);
  }));
  while (!begun.load()) {
  }
  thread.join();
  EXPECT_TRUE(CPU_EQUAL(&mine, &its));
}

TEST(HostThread, StartsOnAProcessWithASingleCpu) {
  cpu_set_t before;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(before), &before), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<unsigned>(::sched_getcpu()), &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);
  cpu_set_t its;
  CPU_ZERO(&its);
  must(HostThread::start("a test", [&] { ::sched_getaffinity(0, sizeof(its), &its); })).join();
  ASSERT_EQ(::sched_setaffinity(0, sizeof(before), &before), 0);
  EXPECT_TRUE(CPU_EQUAL(&one, &its));
}
#endif

}  // namespace
}  // namespace stasis
