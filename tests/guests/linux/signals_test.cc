// Signals: frames on the stack, masks, interrupted calls, faults, and ends.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>

#include "guests/linux/signals/signal_set.h"
#include "tests/guests/linux/kernel_fixture.h"

namespace stasis::linux_guest {
namespace {

constexpr std::uint64_t kHandler = 0x40'2000, kRestorer = 0x40'3000;
constexpr std::uint64_t kFlags = SA_SIGINFO | 0x04000000;  // SA_RESTORER

class SignalsTest : public KernelTest {
 protected:
  void handle(int signal, std::uint64_t flags = 0, std::uint64_t mask = 0) {
    const SignalAction action{kHandler, kFlags | flags, kRestorer, mask};
    ASSERT_EQ(call(SYS_rt_sigaction, {static_cast<std::uint64_t>(signal), value(action), 0, 8}), 0);
  }
  bool is_in_handler() { return cpu.general().rip == kHandler; }
  // The handler returns through the restorer.
  void return_from_handler() {
    cpu.general().rsp += 8;
    cpu.general().rip = kRestorer + 9;
    ASSERT_EQ(trap(SYS_rt_sigreturn), AfterTrap::kContinue);
  }
  AfterTrap kill(int signal) { return trap(SYS_kill, {100, static_cast<std::uint64_t>(signal)}); }
};

TEST_F(SignalsTest, AHandlerFindsWhatLinuxWouldGiveItAndReturnsToTheSameState) {
  handle(SIGUSR1);
  std::vector<std::byte> xsave = cpu.extended();
  xsave[160] = std::byte{0xab};
  ASSERT_TRUE(cpu.set_extended(xsave));
  cpu.general().rbx = 77;
  cpu.general().rflags = 0x202 | 0x400;  // DF, which no handler may see.
  const std::uint64_t stack = cpu.general().rsp;
  const std::uint64_t rip = cpu.general().rip;
  ASSERT_EQ(kill(SIGUSR1), AfterTrap::kContinue);
  ASSERT_TRUE(is_in_handler());
  X86GeneralRegisters& general = cpu.general();
  EXPECT_EQ(general.rdi, static_cast<std::uint64_t>(SIGUSR1));
  EXPECT_EQ(general.rsp % 16, 8U) << "as after a call";
  EXPECT_LT(general.rsp, stack - 128) << "the red zone is spared";
  EXPECT_EQ(general.rflags & 0x400, 0U);
  EXPECT_EQ(get<std::uint64_t>(general.rsp), kRestorer);
  const auto info = get<siginfo_t>(general.rsi);
  EXPECT_EQ(info.si_signo, SIGUSR1);
  EXPECT_EQ(info.si_code, SI_USER);
  EXPECT_EQ(info.si_pid, 100);
  const auto context = get<ucontext_t>(general.rdx);
  EXPECT_EQ(context.uc_mcontext.gregs[REG_RBX], 77);
  EXPECT_EQ(context.uc_mcontext.gregs[REG_RIP], static_cast<greg_t>(rip));
  EXPECT_EQ(context.uc_mcontext.gregs[REG_RSP], static_cast<greg_t>(stack));
  const auto fpstate = reinterpret_cast<std::uint64_t>(context.uc_mcontext.fpregs);
  EXPECT_EQ(fpstate % 64, 0U);
  EXPECT_EQ(get<std::uint32_t>(fpstate + 464), 0x46505853U) << "FP_XSTATE_MAGIC1";
  EXPECT_EQ(get<std::uint32_t>(fpstate + cpu.extended().size()), 0x46505845U);
  EXPECT_EQ(get<std::uint8_t>(fpstate + 160), 0xab);
  EXPECT_EQ(cpu.extended()[160], std::byte{0}) << "a handler begins with fresh registers";
  return_from_handler();
  EXPECT_EQ(general.rip, rip);
  EXPECT_EQ(general.rsp, stack);
  EXPECT_EQ(general.rbx, 77U);
  EXPECT_EQ(general.rflags & 0x400, 0x400U);
  EXPECT_EQ(general.rax, 0U) << "kill's result";
  EXPECT_EQ(cpu.extended()[160], std::byte{0xab});
}

TEST_F(SignalsTest, ABlockedSignalWaitsUntilItMayCome) {
  handle(SIGUSR1);
  const auto mask = value(std::uint64_t{1} << (SIGUSR1 - 1));
  EXPECT_EQ(call(SYS_rt_sigprocmask, {SIG_BLOCK, mask, 0, 8}), 0);
  kill(SIGUSR1);
  EXPECT_FALSE(is_in_handler());
  const auto pending = value(std::uint64_t{0});
  EXPECT_EQ(call(SYS_rt_sigpending, {pending, 8}), 0);
  EXPECT_EQ(get<std::uint64_t>(pending), std::uint64_t{1} << (SIGUSR1 - 1));
  EXPECT_EQ(trap(SYS_rt_sigprocmask, {SIG_UNBLOCK, mask, 0, 8}), AfterTrap::kContinue);
  EXPECT_TRUE(is_in_handler());
}

TEST_F(SignalsTest, AHandlerRunsWithItsMaskAndItsOwnSignalBlocked) {
  handle(SIGUSR1, 0, std::uint64_t{1} << (SIGUSR2 - 1));
  handle(SIGUSR2);
  kill(SIGUSR1);
  ASSERT_TRUE(is_in_handler());
  cpu.general().rip = 0x40'2010;
  kill(SIGUSR1);
  EXPECT_FALSE(is_in_handler());
  kill(SIGUSR2);
  EXPECT_FALSE(is_in_handler());
  return_from_handler();
  EXPECT_TRUE(is_in_handler()) << "both come now";
}

TEST_F(SignalsTest, ASlowCallIsInterruptedOrRestarted) {
  handle(SIGALRM);
  const SysResult fd = open("/dev/stasis", O_RDWR);
  const itimerval timer{{0, 0}, {0, 1000}};
  EXPECT_EQ(call(SYS_setitimer, {ITIMER_REAL, value(timer), 0}), 0);
  const std::uint64_t to = room(64);
  const std::uint64_t rip = cpu.general().rip;
  ASSERT_EQ(trap(SYS_read, {static_cast<std::uint64_t>(fd), to, 64}), AfterTrap::kWait);
  EXPECT_EQ(kernel->deadline(), clock.now_ns + 1'000'000);
  clock.now_ns += 1'000'000;
  ASSERT_EQ(kernel->wake(cpu), AfterTrap::kContinue);
  ASSERT_TRUE(is_in_handler());
  return_from_handler();
  EXPECT_EQ(result(), -EINTR);
  EXPECT_EQ(cpu.general().rip, rip);

  handle(SIGALRM, SA_RESTART);
  EXPECT_EQ(call(SYS_setitimer, {ITIMER_REAL, value(timer), 0}), 0);
  ASSERT_EQ(trap(SYS_read, {static_cast<std::uint64_t>(fd), to, 64}), AfterTrap::kWait);
  clock.now_ns += 1'000'000;
  ASSERT_EQ(kernel->wake(cpu), AfterTrap::kContinue);
  return_from_handler();
  EXPECT_EQ(cpu.general().rip, rip - 2) << "at the SYSCALL instruction again";
  EXPECT_EQ(cpu.general().rax, static_cast<std::uint64_t>(SYS_read));
}

TEST_F(SignalsTest, AnInterruptedSleepTellsWhatWasLeft) {
  handle(SIGALRM);
  const itimerval timer{{0, 0}, {1, 0}};
  EXPECT_EQ(call(SYS_setitimer, {ITIMER_REAL, value(timer), 0}), 0);
  const auto left = value(timespec{0, 0});
  ASSERT_EQ(trap(SYS_nanosleep, {value(timespec{5, 0}), left}), AfterTrap::kWait);
  clock.now_ns += 1'000'000'000;
  ASSERT_EQ(kernel->wake(cpu), AfterTrap::kContinue);
  return_from_handler();
  EXPECT_EQ(result(), -EINTR);
  EXPECT_EQ(get<timespec>(left).tv_sec, 4);
}

TEST_F(SignalsTest, SigsuspendPutsAMaskInPlaceAndTakesItBack) {
  handle(SIGUSR1);
  const std::uint64_t all = ~std::uint64_t{0};
  EXPECT_EQ(call(SYS_rt_sigprocmask, {SIG_SETMASK, value(all), 0, 8}), 0);
  kill(SIGUSR1);
  ASSERT_EQ(trap(SYS_rt_sigsuspend, {value(std::uint64_t{0}), 8}), AfterTrap::kContinue);
  ASSERT_TRUE(is_in_handler());
  return_from_handler();
  EXPECT_EQ(result(), -EINTR);
  const auto mask = value(std::uint64_t{0});
  EXPECT_EQ(call(SYS_rt_sigprocmask, {SIG_BLOCK, 0, mask, 8}), 0);
  EXPECT_EQ(get<std::uint64_t>(mask), all & ~((1ULL << (SIGKILL - 1)) | (1ULL << (SIGSTOP - 1))));
}

TEST_F(SignalsTest, SigtimedwaitTakesASignalWithoutItsHandler) {
  const std::uint64_t set = std::uint64_t{1} << (SIGUSR1 - 1);
  EXPECT_EQ(call(SYS_rt_sigprocmask, {SIG_BLOCK, value(set), 0, 8}), 0);
  EXPECT_EQ(call(SYS_rt_sigtimedwait, {value(set), 0, value(timespec{0, 0}), 8}), -EAGAIN);
  kill(SIGUSR1);
  const std::uint64_t info = room(128);
  EXPECT_EQ(call(SYS_rt_sigtimedwait, {value(set), info, 0, 8}), SIGUSR1);
  EXPECT_EQ(get<siginfo_t>(info).si_signo, SIGUSR1);
}

TEST_F(SignalsTest, AnAlternateStackIsUsedWhenItIsAskedFor) {
  const std::uint64_t base = room(16384);
  struct Stack {
    std::uint64_t base;
    std::int32_t flags, unused;
    std::uint64_t size;
  };
  EXPECT_EQ(call(SYS_sigaltstack, {value(Stack{base, 0, 0, 100}), 0}), -ENOMEM);
  EXPECT_EQ(call(SYS_sigaltstack, {value(Stack{base, 0, 0, 16384}), 0}), 0);
  handle(SIGUSR1, SA_ONSTACK);
  kill(SIGUSR1);
  ASSERT_TRUE(is_in_handler());
  EXPECT_GT(cpu.general().rsp, base);
  EXPECT_LT(cpu.general().rsp, base + 16384);
  EXPECT_EQ(call(SYS_sigaltstack, {value(Stack{base, 0, 0, 8192}), 0}), -EPERM);
}

TEST_F(SignalsTest, AFaultBecomesASignalWithItsAddress) {
  handle(SIGSEGV);
  Fault fault{Fault::Kind::kPage, 14, 6, 0xdead000};
  ASSERT_EQ(kernel->fault(cpu, fault), AfterTrap::kContinue);
  ASSERT_TRUE(is_in_handler());
  const auto info = get<siginfo_t>(cpu.general().rsi);
  EXPECT_EQ(info.si_code, SEGV_MAPERR);
  EXPECT_EQ(info.si_addr, reinterpret_cast<void*>(0xdead000));
  const auto context = get<ucontext_t>(cpu.general().rdx);
  EXPECT_EQ(context.uc_mcontext.gregs[REG_CR2], 0xdead000);
  EXPECT_EQ(context.uc_mcontext.gregs[REG_TRAPNO], 14);
}

TEST_F(SignalsTest, ProtectionAndFileEndsAndArithmeticHaveTheirOwnCodes) {
  const SysResult page =
      call(SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, ~0ULL, 0});
  const auto at = static_cast<std::uint64_t>(page);
  struct Expected {
    Fault fault;
    int signal, code;
  };
  for (const Expected& expected :
       {Expected{{Fault::Kind::kPage, 14, 7, at}, SIGSEGV, SEGV_ACCERR},
        Expected{{Fault::Kind::kPage, 14, 4, at}, SIGBUS, BUS_ADRERR},
        Expected{{Fault::Kind::kProtection, 13, 0, 0}, SIGSEGV, SI_KERNEL},
        Expected{{Fault::Kind::kIllegal, 6, 0, 0}, SIGILL, ILL_ILLOPN},
        Expected{{Fault::Kind::kDivide, 0, 0, 0}, SIGFPE, FPE_INTDIV},
        Expected{{Fault::Kind::kBreakpoint, 3, 0, 0}, SIGTRAP, SI_KERNEL}}) {
    cpu.general().rip = 0x40'1000;
    handle(expected.signal, SA_NODEFER);
    ASSERT_EQ(kernel->fault(cpu, expected.fault), AfterTrap::kContinue);
    const auto info = get<siginfo_t>(cpu.general().rsi);
    EXPECT_EQ(info.si_signo, expected.signal);
    EXPECT_EQ(info.si_code, expected.code) << strsignal(expected.signal);
    return_from_handler();
  }
}

TEST_F(SignalsTest, AnUnhandledFaultEndsWithAReport) {
  cpu.general().rbx = 0x1234567;
  ASSERT_EQ(kernel->fault(cpu, {Fault::Kind::kPage, 14, 4, 0x10}), AfterTrap::kExited);
  const ExitStatus& status = kernel->exit_status();
  EXPECT_EQ(status.signal, SIGSEGV);
  EXPECT_NE(status.report.find("killed by SIGSEGV reading from 0x10, where nothing is mapped"),
            std::string::npos)
      << status.report;
  EXPECT_NE(status.report.find("rbx=0x1234567"), std::string::npos) << status.report;
}

TEST_F(SignalsTest, ABlockedFaultCannotWait) {
  handle(SIGSEGV);
  const std::uint64_t all = ~std::uint64_t{0};
  EXPECT_EQ(call(SYS_rt_sigprocmask, {SIG_SETMASK, value(all), 0, 8}), 0);
  EXPECT_EQ(kernel->fault(cpu, {Fault::Kind::kPage, 14, 4, 0x10}), AfterTrap::kExited);
}

TEST_F(SignalsTest, AStackThatCannotTakeTheFrameIsTheEnd) {
  handle(SIGUSR1);
  cpu.general().rsp = 0x1000;
  EXPECT_EQ(kill(SIGUSR1), AfterTrap::kExited);
  EXPECT_EQ(kernel->exit_status().signal, SIGSEGV);
}

TEST_F(SignalsTest, AForgedFrameCannotLeaveUserSpace) {
  handle(SIGUSR1);
  kill(SIGUSR1);
  const std::uint64_t context = cpu.general().rdx;
  const std::uint64_t kernel_address = 0xffff'8000'0000'0000;
  memory.write({context + offsetof(ucontext_t, uc_mcontext.gregs) + (REG_RIP * 8)},
               std::as_bytes(std::span(&kernel_address, 1)));
  cpu.general().rsp += 8;
  EXPECT_EQ(trap(SYS_rt_sigreturn), AfterTrap::kExited);
  EXPECT_EQ(kernel->exit_status().signal, SIGSEGV);
}

TEST_F(SignalsTest, DefaultActionsAreThoseOfTheManual) {
  EXPECT_EQ(kill(SIGCHLD), AfterTrap::kContinue);
  EXPECT_EQ(kill(0), AfterTrap::kContinue);
  EXPECT_EQ(result(), 0);
  EXPECT_EQ(call(SYS_kill, {1, SIGTERM}), -ESRCH);
  EXPECT_EQ(call(SYS_tgkill, {100, 100, 99}), -EINVAL);
  EXPECT_EQ(trap(SYS_tgkill, {100, 100, SIGABRT}), AfterTrap::kExited);
  EXPECT_EQ(kernel->exit_status().signal, SIGABRT);
}

}  // namespace
}  // namespace stasis::linux_guest
