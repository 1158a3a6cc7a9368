// Signal actions, masks and sending; waiting for signals.
#include <errno.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "guests/linux/calls/handlers.h"
#include "guests/linux/calls/times.h"
#include "guests/linux/signals/signal_frame.h"

namespace stasis::linux_guest {
namespace {

constexpr std::uint64_t kSetBytes = 8;
constexpr std::uint64_t kMinimumStack = 2048;  // MINSIGSTKSZ

SignalSet without_unblockable(std::uint64_t bits) {
  SignalSet set{bits};
  set.remove(SIGKILL);
  set.remove(SIGSTOP);
  return set;
}

bool is_signal(int signal) {
  return signal >= 1 && signal <= kSignalsMax;
}

SysResult send(Call& call, const SignalInfo& info, Thread* thread) {
  Process& process = call.process;
  if (info.signal == 0) {
    return 0;
  }
  if (!is_signal(info.signal)) {
    return -EINVAL;
  }
  return process.signals.send(info, thread, call.thread) ? 0 : -EAGAIN;
}

SysResult send_to_thread(Call& call, int thread_id, int signal) {
  Thread* const thread = call.process.threads.find(thread_id);
  if (thread == nullptr) {
    return thread_id <= 0 ? -EINVAL : -ESRCH;
  }
  return send(call, {.signal = signal, .code = SI_TKILL, .process = kProcessId, .user = kUserId},
              thread);
}

// siginfo_t as given to rt_sigqueueinfo(2).
SysResult queue_info(Call& call, int signal, UserAddress from, Thread* thread) {
  const auto raw = call.user.get<std::array<std::uint8_t, 128>>(from);
  if (!raw) {
    return -EFAULT;
  }
  SignalInfo info;
  info.signal = signal;
  std::memcpy(&info.code, &(*raw)[8], 4);
  std::memcpy(&info.process, &(*raw)[16], 4);
  std::memcpy(&info.user, &(*raw)[20], 4);
  std::memcpy(&info.value, &(*raw)[24], 8);
  return send(call, info, thread);
}

}  // namespace

SysResult sys_rt_sigaction(Call& call) {
  const int signal = call.as_int(0);
  if (call[3] != kSetBytes || !is_signal(signal)) {
    return -EINVAL;
  }
  const SignalAction old = call.process.signals.action(signal);
  if (call[1] != 0) {
    auto wanted = call.user.get<SignalAction>(call.address(1));
    if (!wanted) {
      return -EFAULT;
    }
    if (signal == SIGKILL || signal == SIGSTOP) {
      return -EINVAL;
    }
    wanted->mask = without_unblockable(wanted->mask).bits;
    call.process.signals.set_action(signal, *wanted);
  }
  return call[2] == 0 ? 0 : call.user.put(call.address(2), old);
}

SysResult sys_rt_sigprocmask(Call& call) {
  if (call[3] != kSetBytes) {
    return -EINVAL;
  }
  const SignalSet old = call.thread.blocked;
  if (call[1] != 0) {
    const auto wanted = call.user.get<std::uint64_t>(call.address(1));
    if (!wanted) {
      return -EFAULT;
    }
    switch (call.as_int(0)) {
      case SIG_BLOCK:
        call.thread.blocked = without_unblockable(old.bits | *wanted);
        break;
      case SIG_UNBLOCK:
        call.thread.blocked = without_unblockable(old.bits & ~*wanted);
        break;
      case SIG_SETMASK:
        call.thread.blocked = without_unblockable(*wanted);
        break;
      default:
        return -EINVAL;
    }
  }
  return call[2] == 0 ? 0 : call.user.put(call.address(2), old.bits);
}

SysResult sys_rt_sigpending(Call& call) {
  if (call[1] > kSetBytes) {
    return -EINVAL;
  }
  const std::uint64_t pending =
      call.process.signals.pending_for(call.thread).bits & call.thread.blocked.bits;
  return call.user.put(call.address(0), pending);
}

SysResult sys_rt_sigsuspend(Call& call) {
  if (call.resumed == nullptr) {
    if (call[1] != kSetBytes) {
      return -EINVAL;
    }
    const auto mask = call.user.get<std::uint64_t>(call.address(0));
    if (!mask) {
      return -EFAULT;
    }
    call.thread.mask_to_restore = call.thread.blocked;
    call.thread.blocked = without_unblockable(*mask);
  }
  return call.wait({Wait::Until::kPassed, {}, false});
}

SysResult sys_pause(Call& call) {
  return call.wait({Wait::Until::kPassed, {}, false});
}

SysResult sys_rt_sigtimedwait(Call& call) {
  if (call[3] != kSetBytes) {
    return -EINVAL;
  }
  const auto wanted = call.user.get<std::uint64_t>(call.address(0));
  if (!wanted) {
    return -EFAULT;
  }
  if (const auto info = call.process.signals.take(call.thread, without_unblockable(*wanted))) {
    if (call[1] != 0 && put_signal_info(call.user, call.address(1), *info) != 0) {
      return -EFAULT;
    }
    return info->signal;
  }
  if (call.is_too_late) {
    return -EAGAIN;
  }
  auto deadline = call.resumed != nullptr ? SysOr<std::optional<Deadline>>(call.resumed->deadline)
                                          : deadline_after(call, call.address(2));
  if (!deadline.ok()) {
    return deadline.error();
  }
  if (*deadline && call.process.clock.is_past(**deadline)) {
    return -EAGAIN;
  }
  return call.wait({Wait::Until::kReady, *deadline, false});
}

SysResult sys_rt_sigreturn(Call& call) {
  if (!restore_signal_frame(*call.cpu, call.thread, call.user)) {
    call.process.signals.set_action(SIGSEGV, {});
    call.thread.blocked.remove(SIGSEGV);
    call.process.signals.send({.signal = SIGSEGV, .code = SI_KERNEL, .is_fault = true},
                              &call.thread, call.thread);
  }
  return kRegistersSet;
}

SysResult sys_sigaltstack(Call& call) {
  const AlternateStack old = call.thread.alternate_stack;
  const std::uint64_t rsp = call.cpu->general().rsp;
  const bool is_on_it = is_on_alternate_stack(old, rsp);
  std::optional<AlternateStack> wanted;
  if (call[0] != 0) {
    const auto given = call.user.get<stack_t>(call.address(0));
    if (!given) {
      return -EFAULT;
    }
    if (is_on_it) {
      return -EPERM;
    }
    if ((given->ss_flags & ~(SS_DISABLE | SS_ONSTACK)) != 0) {
      return -EINVAL;
    }
    wanted = AlternateStack{UserAddress{reinterpret_cast<std::uint64_t>(given->ss_sp)},
                            given->ss_size, given->ss_flags & SS_DISABLE};
    if ((wanted->flags & SS_DISABLE) == 0 && wanted->size_bytes < kMinimumStack) {
      return -ENOMEM;
    }
  }
  if (call[1] != 0) {
    struct Shown {
      std::uint64_t base;
      std::int32_t flags;
      std::int32_t unused;
      std::uint64_t size;
    };
    const Shown shown{old.base.value, is_on_it ? SS_ONSTACK : old.flags, 0, old.size_bytes};
    if (call.user.put(call.address(1), shown) != 0) {
      return -EFAULT;
    }
  }
  if (wanted) {
    call.thread.alternate_stack = *wanted;
  }
  return 0;
}

SysResult sys_kill(Call& call) {
  const int target = call.as_int(0);
  if (target != kProcessId && target != 0 && target != -1 && target != -kProcessId) {
    return -ESRCH;
  }
  return send(call,
              {.signal = call.as_int(1), .code = SI_USER, .process = kProcessId, .user = kUserId},
              nullptr);
}

SysResult sys_tkill(Call& call) {
  return send_to_thread(call, call.as_int(0), call.as_int(1));
}
SysResult sys_tgkill(Call& call) {
  return call.as_int(0) == kProcessId ? send_to_thread(call, call.as_int(1), call.as_int(2))
         : call.as_int(0) <= 0        ? -EINVAL
                                      : -ESRCH;
}

SysResult sys_rt_sigqueueinfo(Call& call) {
  return call.as_int(0) == kProcessId ? queue_info(call, call.as_int(1), call.address(2), nullptr)
                                      : -ESRCH;
}
SysResult sys_rt_tgsigqueueinfo(Call& call) {
  Thread* const thread = call.process.threads.find(call.as_int(1));
  return call.as_int(0) == kProcessId && thread != nullptr
             ? queue_info(call, call.as_int(2), call.address(3), thread)
             : -ESRCH;
}

}  // namespace stasis::linux_guest
