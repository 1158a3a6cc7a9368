// Threads that are taken off the vCPU without a system call, and the timers that do it.
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

#include "guests/linux/kernel/scheduler.h"
#include "tests/guests/linux/kernel_fixture.h"

namespace stasis::linux_guest {
namespace {

constexpr std::uint64_t kHandler = 0x40'2000, kRestorer = 0x40'3000;
constexpr std::uint64_t kRestorerFlag = 0x04000000;  // SA_RESTORER

class PreemptionTest : public KernelTest {
 protected:
  // A thread with its own stack, and a number in rbx to know it by.
  void clone(std::uint64_t number) {
    const std::uint64_t own = cpu.general().rbx;
    cpu.general().rbx = number;
    ASSERT_GT(call(SYS_clone, {CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                                   CLONE_SYSVSEM,
                               room(4096) + 4096}),
              0);
    cpu.general().rbx = own;
  }
  [[nodiscard]] std::uint64_t running() { return cpu.general().rbx; }
  [[nodiscard]] std::optional<std::int64_t> left() {  // Until it has to be preempted.
    const RunLimit limit = kernel->run_limit();
    return limit.until ? std::optional(*limit.until - clock.now_ns) : std::nullopt;
  }
  void preempt_after(std::int64_t ns) {
    clock.now_ns += ns;
    ASSERT_EQ(kernel->preempt(cpu), AfterTrap::kContinue);
  }
  void sleep(std::int64_t ns) {
    static_cast<void>(
        trap(SYS_nanosleep, {value(timespec{ns / 1'000'000'000, ns % 1'000'000'000})}));
  }
  void handle(int signal) {
    const SignalAction action{kHandler, kRestorerFlag | SA_SIGINFO, kRestorer, 0};
    ASSERT_EQ(call(SYS_rt_sigaction, {static_cast<std::uint64_t>(signal), value(action), 0, 8}), 0);
  }
  bool take_handler(int signal) {
    const bool is_in =
        cpu.general().rip == kHandler && cpu.general().rdi == static_cast<std::uint64_t>(signal);
    if (is_in) {
      cpu.general().rsp += 8;
      cpu.general().rip = kRestorer + 9;
      EXPECT_EQ(trap(SYS_rt_sigreturn), AfterTrap::kContinue);
    }
    return is_in;
  }
};

TEST_F(PreemptionTest, OneThreadWithoutATimerHasNoLimit) {
  call(SYS_getpid);
  EXPECT_EQ(left(), std::nullopt);
  EXPECT_FALSE(kernel->run_limit().until_request);
  preempt_after(0);
  EXPECT_EQ(left(), std::nullopt);
}

TEST_F(PreemptionTest, ThreadsThatComputeTakeTurnsOfAQuantum) {
  cpu.general().rbx = 1;
  clone(2);
  clone(3);
  EXPECT_EQ(left(), kQuantumNs);
  preempt_after(kQuantumNs / 2);
  EXPECT_EQ(running(), 1U) << "its turn is not over";
  EXPECT_EQ(left(), kQuantumNs / 2);
  std::vector<std::uint64_t> order;
  for (int i = 0; i < 6; ++i) {
    preempt_after(*left());
    EXPECT_EQ(left(), kQuantumNs);
    order.push_back(running());
  }
  EXPECT_EQ(order, (std::vector<std::uint64_t>{2, 3, 1, 2, 3, 1}));
}

TEST_F(PreemptionTest, AnInterruptedThreadFindsEveryRegisterAgain) {
  cpu.general().rbx = 1;
  clone(2);
  X86GeneralRegisters mine = cpu.general();
  mine.rcx = 0xc0;
  mine.r11 = 0x11;
  mine.rflags = 0x247;
  mine.rip = 0x40'1234;
  cpu.general() = mine;
  cpu.set_fs_base(0x1000);
  cpu.set_gs_base(0x2000);
  std::vector<std::byte> extended = cpu.extended();
  extended[600] = std::byte{0x77};
  ASSERT_TRUE(cpu.set_extended(extended));
  preempt_after(kQuantumNs);
  ASSERT_EQ(running(), 2U);
  cpu.general().rcx = cpu.general().r11 = 0;
  cpu.set_fs_base(0);
  ASSERT_TRUE(cpu.set_extended(std::vector<std::byte>(extended.size())));
  save_and_load();  // With one of them preempted.
  static_cast<void>(left());
  preempt_after(kQuantumNs);
  EXPECT_EQ(cpu.general(), mine);
  EXPECT_EQ(cpu.fs_base(), 0x1000U);
  EXPECT_EQ(cpu.gs_base(), 0x2000U);
  EXPECT_EQ(cpu.extended(), extended);
}

TEST_F(PreemptionTest, ASleeperComesInTimeAndLendsTheTurnOnly) {
  cpu.general().rbx = 1;
  clone(2);
  clone(3);
  sleep(1'000'000);
  ASSERT_EQ(running(), 2U);
  EXPECT_EQ(left(), 1'000'000);
  preempt_after(1'000'000);
  EXPECT_EQ(running(), 1U) << "its sleep is over";
  sleep(1'000'000);
  EXPECT_EQ(running(), 2U) << "which has not had its quantum";
  // Neither of those that compute is passed over, however often the sleeper comes.
  std::vector<std::uint64_t> seen;
  for (int i = 0; i < 40; ++i) {
    preempt_after(*left());
    if (running() == 1) {
      sleep(1'000'000);
    }
    seen.push_back(running());
  }
  EXPECT_NE(std::ranges::find(seen, 2U), seen.end());
  EXPECT_NE(std::ranges::find(seen, 3U), seen.end());
}

TEST_F(PreemptionTest, WhoWaitsForWhatOnlyACallCanBringCostsOneLookAndNoMore) {
  cpu.general().rbx = 1;
  const std::uint64_t ends = room(8);
  ASSERT_EQ(call(SYS_pipe2, {ends, 0}), 0);
  clone(2);
  trap(SYS_read, {static_cast<std::uint64_t>(get<std::int32_t>(ends)), room(8), 8});
  ASSERT_EQ(running(), 2U);
  EXPECT_TRUE(kernel->run_limit().until_request);
  ASSERT_EQ(left(), kQuantumNs);
  preempt_after(kQuantumNs);
  EXPECT_EQ(running(), 2U);
  EXPECT_EQ(left(), std::nullopt);
  write(get<std::int32_t>(ends + 4), "x");
  EXPECT_NE(left(), std::nullopt) << "it may be readable now";
  preempt_after(0);
  EXPECT_EQ(running(), 1U);
}

TEST_F(PreemptionTest, ARequestReachesTheThreadThatWaitsForIt) {
  cpu.general().rbx = 1;
  const SysResult device = open("/dev/stasis", O_RDWR);
  clone(2);
  trap(SYS_read, {static_cast<std::uint64_t>(device), room(64), 64});
  ASSERT_EQ(running(), 2U);
  preempt_after(kQuantumNs);
  ASSERT_TRUE(kernel->run_limit().until_request);
  post("hello");
  preempt_after(0);
  EXPECT_EQ(running(), 1U);
  EXPECT_EQ(result(), 6);
}

TEST_F(PreemptionTest, AnAlarmInterruptsAComputationAndTheRegistersComeBack) {
  handle(SIGALRM);
  ASSERT_EQ(call(SYS_setitimer, {ITIMER_REAL, value(itimerval{{0, 0}, {0, 5000}}), 0}), 0);
  EXPECT_EQ(left(), 5'000'000);
  const X86GeneralRegisters before = cpu.general();
  preempt_after(5'000'000);
  EXPECT_LT(cpu.general().rsp, before.rsp - 128) << "below the red zone";
  ASSERT_TRUE(take_handler(SIGALRM));
  EXPECT_EQ(cpu.general(), before);
  EXPECT_EQ(left(), std::nullopt);
}

TEST_F(PreemptionTest, TimersOfProcessorTimeStandStillWhileTheProcessWaits) {
  for (const auto& [which, signal] :
       {std::pair(ITIMER_VIRTUAL, SIGVTALRM), {ITIMER_PROF, SIGPROF}}) {
    handle(signal);
    const auto timer = static_cast<std::uint64_t>(which);
    ASSERT_EQ(call(SYS_setitimer, {timer, value(itimerval{{0, 4000}, {0, 5000}}), 0}), 0);
    preempt_after(2'000'000);
    EXPECT_EQ(left(), 3'000'000);
    sleep(1'000'000'000);
    EXPECT_EQ(kernel->deadline(), clock.now_ns + 1'000'000'000) << "of the sleep alone";
    clock.now_ns += 1'000'000'000;
    ASSERT_EQ(kernel->wake(cpu), AfterTrap::kContinue);
    EXPECT_EQ(left(), 3'000'000);
    save_and_load();
    EXPECT_EQ(left(), 3'000'000);
    preempt_after(3'000'000);
    EXPECT_TRUE(take_handler(signal));
    EXPECT_EQ(left(), 4'000'000);
    const std::uint64_t old = room(sizeof(itimerval));
    ASSERT_EQ(call(SYS_setitimer, {timer, value(itimerval{}), old}), 0);
    EXPECT_EQ(get<itimerval>(old).it_interval.tv_usec, 4000);
  }
  const std::uint64_t time = room(sizeof(timespec));
  ASSERT_EQ(call(SYS_clock_gettime, {CLOCK_PROCESS_CPUTIME_ID, time}), 0);
  EXPECT_EQ(get<timespec>(time).tv_sec, 0) << "two seconds were slept";
}

TEST_F(PreemptionTest, PosixTimersSendTheirSignalWithValueAndOverrun) {
  handle(SIGUSR2);
  struct Event {
    std::uint64_t value = 42;
    std::int32_t signal = SIGUSR2, notify = SIGEV_SIGNAL, thread = 0;
    std::array<std::uint8_t, 44> rest = {};
  } event;
  const std::uint64_t id = room(4);
  ASSERT_EQ(call(SYS_timer_create, {CLOCK_MONOTONIC, value(event), id}), 0);
  const auto timer = static_cast<std::uint64_t>(get<std::int32_t>(id));
  const itimerspec every{{0, 1'000'000}, {0, 2'000'000}};
  ASSERT_EQ(call(SYS_timer_settime, {timer, 0, value(every), 0}), 0);
  save_and_load();
  EXPECT_EQ(left(), 2'000'000);
  preempt_after(5'500'000);
  const auto info = get<siginfo_t>(cpu.general().rsi);
  EXPECT_EQ(info.si_code, SI_TIMER);
  EXPECT_EQ(info.si_value.sival_int, 42);
  EXPECT_EQ(info.si_overrun, 3);
  ASSERT_TRUE(take_handler(SIGUSR2));
  EXPECT_EQ(call(SYS_timer_getoverrun, {timer}), 3);
  const std::uint64_t now = room(sizeof(itimerspec));
  ASSERT_EQ(call(SYS_timer_gettime, {timer, now}), 0);
  EXPECT_EQ(get<itimerspec>(now).it_value.tv_nsec, 500'000);
  EXPECT_EQ(call(SYS_timer_delete, {timer}), 0);
  EXPECT_EQ(call(SYS_timer_delete, {timer}), -EINVAL);
  EXPECT_EQ(left(), std::nullopt);
}

TEST_F(PreemptionTest, PosixTimersThatCannotBeAreRefused) {
  struct Event {
    std::uint64_t value = 0;
    std::int32_t signal = SIGUSR2, notify = SIGEV_SIGNAL, thread = 0;
    std::array<std::uint8_t, 44> rest = {};
  };
  const std::uint64_t id = room(4);
  EXPECT_EQ(call(SYS_timer_create, {77, 0, id}), -EINVAL);
  EXPECT_EQ(call(SYS_timer_create, {CLOCK_MONOTONIC, value(Event{.signal = 65}), id}), -EINVAL);
  EXPECT_EQ(call(SYS_timer_create, {CLOCK_MONOTONIC, value(Event{.notify = 4, .thread = 7}), id}),
            -EINVAL)
      << "no such thread";
  EXPECT_EQ(call(SYS_timer_create, {CLOCK_MONOTONIC, 0, 8}), -EFAULT);
  ASSERT_EQ(call(SYS_timer_create, {CLOCK_MONOTONIC, value(Event{.notify = SIGEV_NONE}), id}), 0);
  const auto timer = static_cast<std::uint64_t>(get<std::int32_t>(id));
  EXPECT_EQ(call(SYS_timer_settime, {timer, 0, value(itimerspec{{0, 0}, {0, -1}}), 0}), -EINVAL);
  ASSERT_EQ(call(SYS_timer_settime, {timer, 0, value(itimerspec{{0, 0}, {0, 1000}}), 0}), 0);
  EXPECT_EQ(left(), std::nullopt) << "it interrupts nobody";
}

TEST_F(PreemptionTest, ATimerOfTheShortestIntervalLetsTheProcessGetOn) {
  handle(SIGALRM);
  ASSERT_EQ(call(SYS_setitimer, {ITIMER_REAL, value(itimerval{{0, 1}, {0, 1}}), 0}), 0);
  clock.now_ns += 1'000'000;
  EXPECT_GT(left(), 0);
}

}  // namespace
}  // namespace stasis::linux_guest
