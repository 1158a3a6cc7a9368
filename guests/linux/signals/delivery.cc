#include "guests/linux/signals/delivery.h"

#include <errno.h>
#include <signal.h>

#include "guests/linux/kernel/crash_report.h"
#include "guests/linux/signals/signal_frame.h"

namespace stasis::linux_guest {
namespace {

constexpr std::uint64_t kSaRestart = 0x10000000, kSaResetHand = 0x80000000;
constexpr std::uint64_t kSyscallBytes = 2;  // 0f 05
constexpr int kDeliveriesMax = 64;          // Frames for one return to the process.

// The result of a system call that the signal has cut short (signal(7)).
void restart_or_fail(Thread& thread, TrapCpu& cpu, const SignalAction& action) {
  if (!thread.interrupted) {
    return;
  }
  if (thread.interrupted->restarts && (action.flags & kSaRestart) != 0) {
    cpu.general().rax = thread.interrupted->number;
    cpu.general().rip -= kSyscallBytes;
  }
  thread.interrupted.reset();
}

void kill_process(Process& process, TrapCpu& cpu, const SignalInfo& info) {
  process.end(0, info.signal, crash_report(*process.memory, cpu.general(), info));
}

}  // namespace

void deliver_signals(Process& process, Thread& thread, TrapCpu& cpu) {
  for (int count = 0; count < kDeliveriesMax; ++count) {
    const SignalSet unblocked{~thread.blocked.bits};
    const auto info = process.signals.take(thread, unblocked);
    if (!info) {
      break;
    }
    const SignalAction action = process.signals.action(info->signal);
    if (process.signals.is_ignored(info->signal)) {
      continue;
    }
    if (action.handler == kHandlerDefault) {
      kill_process(process, cpu, *info);
      return;
    }
    restart_or_fail(thread, cpu, action);
    if ((action.flags & kSaResetHand) != 0) {
      process.signals.set_action(info->signal, {});
    }
    const X86GeneralRegisters before = cpu.general();
    if (!push_signal_frame(cpu, thread, UserAccess(*process.memory), *info, action)) {
      cpu.general() = before;
      process.note("the stack has no room for the frame of a handler of " +
                   std::string(signal_name(info->signal)));
      kill_process(process, cpu, {.signal = SIGSEGV, .code = SI_KERNEL});
      return;
    }
  }
  if (thread.interrupted && !process.signals.has_deliverable(thread)) {
    thread.interrupted.reset();  // Nothing came of it: EINTR stands.
  }
  if (thread.mask_to_restore && !thread.wait) {
    thread.blocked = *thread.mask_to_restore;
    thread.mask_to_restore.reset();
  }
}

// What is not mapped, not allowed, or beyond the end of the file.
void describe_page_fault(const AddressSpace& memory, const Fault& fault, SignalInfo& info) {
  info.signal = SIGSEGV;
  info.code = SEGV_MAPERR;
  info.address = fault.address;
  const Protection needed = (fault.error_code & 16U) != 0  ? Protection::kExecute
                            : (fault.error_code & 2U) != 0 ? Protection::kWrite
                                                           : Protection::kRead;
  for (const Mapping& mapping : memory.mappings()) {
    if (mapping.begin.value <= fault.address &&
        fault.address - mapping.begin.value < mapping.size_bytes) {
      // Allowed and yet not there: beyond the end of the file.
      info.signal = has(mapping.protection, needed) ? SIGBUS : SIGSEGV;
      info.code = info.signal == SIGBUS ? int{BUS_ADRERR} : int{SEGV_ACCERR};
    }
  }
}

SignalInfo info_of_fault(const AddressSpace& memory, const Fault& fault, std::uint64_t rip) {
  SignalInfo info;
  info.is_fault = true;
  info.vector = fault.vector;
  info.error_code = fault.error_code;
  info.address = rip;
  switch (fault.kind) {
    case Fault::Kind::kPage:
      describe_page_fault(memory, fault, info);
      return info;
    case Fault::Kind::kIllegal:
      info.signal = SIGILL;
      info.code = ILL_ILLOPN;
      return info;
    case Fault::Kind::kDivide:
      info.signal = SIGFPE;
      info.code = FPE_INTDIV;
      return info;
    case Fault::Kind::kBreakpoint:
      info.signal = SIGTRAP;
      info.code = SI_KERNEL;
      return info;
    case Fault::Kind::kProtection:
      info.signal = SIGSEGV;
      info.code = SI_KERNEL;
      info.address = 0;
      return info;
    case Fault::Kind::kOther:
      break;
  }
  // SDM vol. 3A, table 6-1; what Linux makes of them: arch/x86/kernel/traps.c.
  switch (fault.vector) {
    case 1:
      info.signal = SIGTRAP;
      info.code = TRAP_BRKPT;
      break;
    case 16:
    case 19:
      info.signal = SIGFPE;
      info.code = FPE_FLTINV;
      break;
    case 17:
      info.signal = SIGBUS;
      info.code = BUS_ADRALN;
      break;
    case 11:
    case 12:
      info.signal = SIGBUS;
      info.code = SI_KERNEL;
      break;
    default:
      info.signal = SIGSEGV;
      info.code = SI_KERNEL;
      info.address = 0;
  }
  return info;
}

void send_fault(Process& process, Thread& thread, TrapCpu& cpu, const Fault& fault) {
  const SignalInfo info = info_of_fault(*process.memory, fault, cpu.general().rip);
  if (thread.blocked.has(info.signal) || process.signals.is_ignored(info.signal)) {
    kill_process(process, cpu, info);
    return;
  }
  thread.pending.push_front(info);
}

}  // namespace stasis::linux_guest
