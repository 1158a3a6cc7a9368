#include "tests/guests/linux/traced_process.h"

#include <elf.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "core/check.h"
#include "tests/guests/linux/traced_memory.h"

namespace stasis::linux_guest {
namespace {

constexpr int kSyscallStop = SIGTRAP | 0x80;  // PTRACE_O_TRACESYSGOOD

std::vector<char*> pointers_of(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) {
    pointers.push_back(const_cast<char*>(text.c_str()));
  }
  pointers.push_back(nullptr);
  return pointers;
}

// The vDSO would ask the host for the time behind our back: the program shall not find it.
void hide_vdso(TracedMemory& memory, std::uint64_t stack) {
  const UserMemory& unused = memory;
  static_cast<void>(unused);
  const auto word = [&](std::uint64_t at) {
    std::uint64_t value = 0;
    STASIS_CHECK(memory.read({at}, std::as_writable_bytes(std::span(&value, 1))) == 8);
    return value;
  };
  std::uint64_t at = stack + 8 + (word(stack) + 1) * 8;
  while (word(at) != 0) {
    at += 8;
  }
  for (at += 8; word(at) != AT_NULL; at += 16) {
    if (word(at) == AT_SYSINFO_EHDR) {
      constexpr std::uint64_t kIgnore = AT_IGNORE;
      memory.write({at}, std::as_bytes(std::span(&kIgnore, 1)));
    }
  }
}

Fault fault_of(int signal, const siginfo_t& info) {
  Fault fault;
  switch (signal) {
    case SIGFPE:
      fault.kind = Fault::Kind::kDivide;
      fault.vector = 0;
      break;
    case SIGILL:
      fault.kind = Fault::Kind::kIllegal;
      fault.vector = 6;
      break;
    case SIGTRAP:
      fault.kind = Fault::Kind::kBreakpoint;
      fault.vector = 3;
      break;
    default:
      fault.kind = info.si_code == SI_KERNEL ? Fault::Kind::kProtection : Fault::Kind::kPage;
      fault.vector = info.si_code == SI_KERNEL ? 13 : 14;
      fault.error_code = info.si_code == SEGV_ACCERR ? 7 : 6;  // As if written to.
      fault.address = reinterpret_cast<std::uint64_t>(info.si_addr);
  }
  return fault;
}

}  // namespace

std::vector<std::byte> TracedCpu::extended() {
  std::vector<std::byte> xsave(16384);
  iovec area{xsave.data(), xsave.size()};
  STASIS_CHECK(::ptrace(PTRACE_GETREGSET, pid_, NT_X86_XSTATE, &area) == 0);
  xsave.resize(area.iov_len);
  return xsave;
}

bool TracedCpu::set_extended(std::span<const std::byte> xsave) {
  std::vector<std::byte> copy(xsave.begin(), xsave.end());
  iovec area{copy.data(), copy.size()};
  return ::ptrace(PTRACE_SETREGSET, pid_, NT_X86_XSTATE, &area) == 0;
}

void TracedCpu::load() {
  STASIS_CHECK(::ptrace(PTRACE_GETREGS, pid_, nullptr, &raw_) == 0);
  const auto& r = raw_;
  general_ = {r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rsp, r.rbp, r.r8,
              r.r9,  r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rip, r.eflags};
}

void TracedCpu::store() {
  auto& r = raw_;
  const auto& g = general_;
  r.rax = g.rax;
  r.rbx = g.rbx;
  r.rcx = g.rcx;
  r.rdx = g.rdx;
  r.rsi = g.rsi;
  r.rdi = g.rdi;
  r.rsp = g.rsp;
  r.rbp = g.rbp;
  r.r8 = g.r8;
  r.r9 = g.r9;
  r.r10 = g.r10;
  r.r11 = g.r11;
  r.r12 = g.r12;
  r.r13 = g.r13;
  r.r14 = g.r14;
  r.r15 = g.r15;
  r.rip = g.rip;
  r.eflags = g.rflags;
  r.orig_rax = ~0ULL;  // The host shall not restart anything.
  STASIS_CHECK(::ptrace(PTRACE_SETREGS, pid_, nullptr, &r) == 0);
}

std::unique_ptr<TracedProcess> TracedProcess::start(const std::string& path,
                                                    const std::vector<std::string>& arguments,
                                                    const std::vector<std::string>& environment) {
  const auto argv = pointers_of(arguments);
  const auto envp = pointers_of(environment);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::personality(ADDR_NO_RANDOMIZE);
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::execve(path.c_str(), argv.data(), envp.data());
    ::_exit(127);
  }
  int status = 0;
  if (pid < 0 || ::waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) {
    std::fprintf(stderr, "%s cannot be traced\n", path.c_str());
    return nullptr;
  }
  STASIS_CHECK(
      ::ptrace(PTRACE_SETOPTIONS, pid, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0);
  return std::unique_ptr<TracedProcess>(new TracedProcess(pid));
}

TracedProcess::TracedProcess(pid_t pid) : pid_(pid), cpu_(pid) {
  cpu_.load();
  memory_ = std::make_unique<TracedMemory>(pid, UserAddress{cpu_.general().rip});
  hide_vdso(*memory_, cpu_.general().rsp);
}

TracedProcess::~TracedProcess() {
  ::kill(pid_, SIGKILL);
  int status = 0;
  ::waitpid(pid_, &status, 0);
}

AddressSpace& TracedProcess::memory() {
  return *memory_;
}

AfterTrap TracedProcess::handle_stop(Kernel& kernel, int status) {
  cpu_.load();
  const int signal = WSTOPSIG(status);
  AfterTrap after = AfterTrap::kContinue;
  if (signal == kSyscallStop) {
    user_regs_struct raw{};
    STASIS_CHECK(::ptrace(PTRACE_GETREGS, pid_, nullptr, &raw) == 0);
    cpu_.general().rax = raw.orig_rax;
    after = kernel.syscall(cpu_);
  } else if (signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL ||
             signal == SIGTRAP) {
    siginfo_t info{};
    STASIS_CHECK(::ptrace(PTRACE_GETSIGINFO, pid_, nullptr, &info) == 0);
    after = kernel.fault(cpu_, fault_of(signal, info));
  }
  cpu_.store();
  return after;
}

AfterTrap TracedProcess::run(Kernel& kernel) {
  AfterTrap after = AfterTrap::kContinue;
  while (after == AfterTrap::kContinue) {
    STASIS_CHECK(::ptrace(PTRACE_SYSEMU, pid_, nullptr, nullptr) == 0);
    int status = 0;
    STASIS_CHECK(::waitpid(pid_, &status, 0) == pid_ && WIFSTOPPED(status));
    after = handle_stop(kernel, status);
    while (after == AfterTrap::kWait && kernel.deadline() && !kernel.wants_request()) {
      const auto left = *kernel.deadline() - host_clock().now();
      ::poll(nullptr, 0, left > 0 ? static_cast<int>(left / 1'000'000) + 1 : 0);
      after = kernel.wake(cpu_);
      cpu_.store();
    }
  }
  return after;
}

AfterTrap TracedProcess::wake(Kernel& kernel) {
  const AfterTrap after = kernel.wake(cpu_);
  cpu_.store();
  return after == AfterTrap::kContinue ? run(kernel) : after;
}

}  // namespace stasis::linux_guest
