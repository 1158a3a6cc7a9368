// Threads on one vCPU, futexes, and the calls that would need a second process.
#include <errno.h>
#include <linux/futex.h>
#include <linux/sched.h>

#include "tests/guests/linux/kernel_fixture.h"

namespace stasis::linux_guest {
namespace {

constexpr std::uint64_t kThread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                                  CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |
                                  CLONE_CHILD_CLEARTID;

class ThreadsTest : public KernelTest {
 protected:
  ThreadsTest() : stack(room(4096) + 4096), tid_(value(std::uint32_t{0})) {}
  SysResult clone() { return call(SYS_clone, {kThread, stack, tid_, tid_, 0x7777000}); }
  // Whether the loaded thread is the new one: it has its stack.
  bool is_on_new_thread() { return cpu.general().rsp == stack; }
  std::uint64_t stack;
  std::uint64_t tid_;
};

TEST_F(ThreadsTest, ANewThreadBeginsBehindTheCallWithItsStackAndItsTls) {
  cpu.general().rbx = 1234;
  const SysResult id = clone();
  EXPECT_EQ(id, 101);
  EXPECT_EQ(get<std::uint32_t>(tid_), 101U);
  EXPECT_FALSE(is_on_new_thread());
  call(SYS_sched_yield);
  EXPECT_TRUE(is_on_new_thread());
  EXPECT_EQ(cpu.general().rax, 0U);
  EXPECT_EQ(cpu.general().rbx, 1234U);
  EXPECT_EQ(cpu.fs_base(), 0x7777000U);
  EXPECT_EQ(call(SYS_gettid), 101);
  EXPECT_EQ(call(SYS_getpid), 100);
}

TEST_F(ThreadsTest, AnEndedThreadClearsItsIdAndWakesWhoWaitsForIt) {
  clone();
  ASSERT_EQ(trap(SYS_futex, {tid_, FUTEX_WAIT, 101, 0}), AfterTrap::kContinue);
  ASSERT_TRUE(is_on_new_thread()) << "the first one waits";
  ASSERT_EQ(trap(SYS_exit, {0}), AfterTrap::kContinue);
  EXPECT_FALSE(is_on_new_thread());
  EXPECT_EQ(result(), 0);
  EXPECT_EQ(get<std::uint32_t>(tid_), 0U);
  EXPECT_EQ(trap(SYS_exit, {7}), AfterTrap::kExited) << "the last thread";
  EXPECT_EQ(kernel->exit_status().code, 7);
}

TEST_F(ThreadsTest, ExitGroupEndsAllOfThem) {
  clone();
  EXPECT_EQ(trap(SYS_exit_group, {3}), AfterTrap::kExited);
  EXPECT_EQ(kernel->exit_status().code, 3);
  EXPECT_EQ(kernel->syscall(cpu), AfterTrap::kExited);
}

TEST_F(ThreadsTest, AFutexWaitsOnlyForTheValueItWasToldOf) {
  const auto word = value(std::uint32_t{5});
  EXPECT_EQ(call(SYS_futex, {word, FUTEX_WAIT, 4, 0}), -EAGAIN);
  EXPECT_EQ(call(SYS_futex, {word + 1, FUTEX_WAIT, 5, 0}), -EINVAL);
  EXPECT_EQ(call(SYS_futex, {0x10, FUTEX_WAIT, 5, 0}), -EFAULT);
  EXPECT_EQ(call(SYS_futex, {word, FUTEX_LOCK_PI, 0, 0}), -ENOSYS);
  ASSERT_EQ(trap(SYS_futex, {word, FUTEX_WAIT, 5, value(timespec{0, 1000})}), AfterTrap::kWait);
  clock.now_ns += 1000;
  ASSERT_EQ(kernel->wake(cpu), AfterTrap::kContinue);
  EXPECT_EQ(result(), -ETIMEDOUT);
}

TEST_F(ThreadsTest, ARequeuedWaiterIsWokenWhereItWasPut) {
  const auto first = value(std::uint32_t{1});
  const auto second = value(std::uint32_t{2});
  clone();
  trap(SYS_futex, {first, FUTEX_WAIT, 1, 0});
  ASSERT_TRUE(is_on_new_thread());
  EXPECT_EQ(call(SYS_futex, {first, FUTEX_CMP_REQUEUE, 0, 1, second, 9}), -EAGAIN);
  EXPECT_EQ(call(SYS_futex, {first, FUTEX_CMP_REQUEUE, 0, 1, second, 1}), 1);
  EXPECT_EQ(call(SYS_futex, {first, FUTEX_WAKE, 1}), 0);
  EXPECT_EQ(call(SYS_futex, {second, FUTEX_WAKE, 1}), 1);
  call(SYS_sched_yield);
  EXPECT_FALSE(is_on_new_thread());
}

TEST_F(ThreadsTest, WakingByBitsetPassesOverTheOthers) {
  const auto word = value(std::uint32_t{1});
  clone();
  trap(SYS_futex, {word, FUTEX_WAIT_BITSET, 1, 0, 0, 0x2});
  EXPECT_EQ(call(SYS_futex, {word, FUTEX_WAKE_BITSET, 9, 0, 0, 0x4}), 0);
  EXPECT_EQ(call(SYS_futex, {word, FUTEX_WAKE_BITSET, 9, 0, 0, 0x6}), 1);
  const auto other = value(std::uint32_t{8});
  const std::uint64_t add_one_if_eight = FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, 8);
  EXPECT_EQ(call(SYS_futex, {word, FUTEX_WAKE_OP, 1, 1, other, add_one_if_eight}), 0);
  EXPECT_EQ(get<std::uint32_t>(other), 9U);
}

TEST_F(ThreadsTest, AThreadThatKeepsCallingGivesTheOthersTheirTurn) {
  clone();
  bool seen = false;
  for (int i = 0; i < 200 && !seen; ++i) {
    call(SYS_getpid);
    seen = is_on_new_thread();
  }
  EXPECT_TRUE(seen);
  EXPECT_EQ(kernel->wake(cpu), AfterTrap::kContinue);
  EXPECT_FALSE(is_on_new_thread()) << "the owner's own timer preempts by wake()";
}

TEST_F(ThreadsTest, RegistersOfTheExtendedStateBelongToTheirThread) {
  std::vector<std::byte> mine = cpu.extended();
  mine[160] = std::byte{0xaa};  // xmm0
  ASSERT_TRUE(cpu.set_extended(mine));
  clone();
  call(SYS_sched_yield);
  std::vector<std::byte> theirs = cpu.extended();
  EXPECT_EQ(theirs[160], std::byte{0xaa}) << "inherited";
  theirs[160] = std::byte{0xbb};
  ASSERT_TRUE(cpu.set_extended(theirs));
  call(SYS_sched_yield);
  EXPECT_EQ(cpu.extended()[160], std::byte{0xaa});
}

TEST_F(ThreadsTest, AHeldRobustFutexIsHandedOnWithAMark) {
  struct Entry {
    std::uint64_t next;
    std::uint32_t lock;
  };
  const std::uint64_t head = room(24);
  const std::uint64_t entry = room(sizeof(Entry));
  clone();
  call(SYS_sched_yield);
  const Entry held{head, 101 | FUTEX_WAITERS};
  memory.write({entry}, std::as_bytes(std::span(&held, 1)));
  const std::array<std::uint64_t, 3> list = {entry, offsetof(Entry, lock), 0};
  memory.write({head}, std::as_bytes(std::span(list)));
  EXPECT_EQ(call(SYS_set_robust_list, {head, 24}), 0);
  EXPECT_EQ(call(SYS_set_robust_list, {head, 23}), -EINVAL);
  trap(SYS_exit, {0});
  EXPECT_EQ(get<Entry>(entry).lock, FUTEX_OWNER_DIED | FUTEX_WAITERS);
}

TEST_F(ThreadsTest, ASecondProcessIsRefusedWithWhereAndWhat) {
  EXPECT_EQ(call(SYS_fork), -ENOSYS);
  EXPECT_EQ(call(SYS_execve, {text("/bin/true"), 0, 0}), -ENOSYS);
  const std::string& report = kernel->exit_status().report;
  EXPECT_NE(report.find("fork is not supported in a guest of one process: fork() at 0x401000"),
            std::string::npos)
      << report;
  EXPECT_NE(report.find("execve(\"/bin/true\", 0x0, 0x0)"), std::string::npos) << report;
  EXPECT_EQ(call(SYS_wait4, {~0ULL, 0, 0, 0}), -ECHILD);
}

TEST_F(ThreadsTest, UnknownCallsAreCountedByNumber) {
  EXPECT_EQ(call(999), -ENOSYS);
  EXPECT_EQ(call(999), -ENOSYS);
  EXPECT_EQ(call(SYS_io_uring_setup), -ENOSYS);
  const auto counts = kernel->counts();
  ASSERT_EQ(counts.size(), 2U);
  EXPECT_EQ(counts[0].number, 999U);
  EXPECT_EQ(counts[0].calls, 2U);
  EXPECT_FALSE(counts[0].is_known);
  EXPECT_EQ(counts[1].name, "io_uring_setup");
  EXPECT_FALSE(counts[1].is_known);
}

}  // namespace
}  // namespace stasis::linux_guest
