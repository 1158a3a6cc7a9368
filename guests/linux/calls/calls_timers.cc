// Timers that send a signal: setitimer(2) and its kin, and those of timer_create(2).
#include <errno.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

#include <algorithm>

#include "guests/linux/calls/handlers.h"
#include "guests/linux/calls/times.h"

namespace stasis::linux_guest {
namespace {

// struct sigevent of the kernel. Value.
struct SignalEvent {
  std::uint64_t value;
  std::int32_t signal;
  std::int32_t notify;
  std::int32_t thread;
  std::array<std::uint8_t, 44> unused;
};
static_assert(sizeof(SignalEvent) == 64);
constexpr std::int32_t kThreadId = 4;  // SIGEV_THREAD_ID

// What is left, which is not 0 as long as the timer runs.
std::int64_t time_left(const Call& call, const IntervalTimer& timer, std::int64_t unit_ns) {
  return timer.next ? std::max(unit_ns, left_ns(call, *timer.next)) : 0;
}

IntervalTimer* interval_timer(Call& call) {
  const auto which = static_cast<std::size_t>(call.as_u32(0));
  return which < kIntervalTimers ? &call.process.timers.interval[which] : nullptr;
}

SysResult put_timer(Call& call, UserAddress to, const IntervalTimer& timer) {
  return call.user.put(
      to, itimerval{timeval_of(timer.interval_ns), timeval_of(time_left(call, timer, 1000))});
}

IntervalTimer armed(const Call& call, ClockKind clock, std::int64_t value_ns,
                    std::int64_t interval_ns) {
  if (value_ns == 0) {
    return {std::nullopt, interval_ns};
  }
  return {call.process.clock.after(value_ns, clock), interval_ns};
}

PosixTimer* posix_timer(Call& call) {
  const auto found = call.process.timers.posix.find(call.as_int(0));
  return found == call.process.timers.posix.end() ? nullptr : &found->second;
}

SysResult put_timer(Call& call, UserAddress to, const PosixTimer& timer) {
  return call.user.put(to, itimerspec{timespec_of(timer.timer.interval_ns),
                                      timespec_of(time_left(call, timer.timer, 1))});
}

// The signal, and the thread that it is for. EINVAL, EFAULT.
SysResult read_event(Call& call, PosixTimer& timer) {
  const auto event = call.user.get<SignalEvent>(call.address(1));
  if (!event) {
    return -EFAULT;
  }
  timer.value = event->value;
  if (event->notify == SIGEV_NONE) {
    timer.signal = 0;
    return 0;
  }
  const bool is_for_thread = event->notify == kThreadId;
  if ((!is_for_thread && event->notify != SIGEV_SIGNAL && event->notify != SIGEV_THREAD) ||
      event->signal < 1 || event->signal > kSignalsMax ||
      (is_for_thread && call.process.threads.find(event->thread) == nullptr)) {
    return -EINVAL;
  }
  timer.signal = event->signal;
  timer.thread = is_for_thread ? event->thread : 0;
  return 0;
}

}  // namespace

SysResult sys_getitimer(Call& call) {
  const IntervalTimer* const timer = interval_timer(call);
  return timer == nullptr ? -EINVAL : put_timer(call, call.address(1), *timer);
}

SysResult sys_setitimer(Call& call) {
  IntervalTimer* const timer = interval_timer(call);
  if (timer == nullptr) {
    return -EINVAL;
  }
  itimerval wanted{};
  if (call[1] != 0) {
    const auto given = call.user.get<itimerval>(call.address(1));
    if (!given) {
      return -EFAULT;
    }
    wanted = *given;
  }
  const auto value = ns_of(wanted.it_value);
  const auto interval = ns_of(wanted.it_interval);
  if (!value || !interval) {
    return -EINVAL;
  }
  if (call[2] != 0 && put_timer(call, call.address(2), *timer) != 0) {
    return -EFAULT;
  }
  const ClockKind clock =
      call.as_int(0) == ITIMER_REAL ? ClockKind::kMonotonic : ClockKind::kProcessor;
  *timer = armed(call, clock, *value, *interval);
  return 0;
}

SysResult sys_alarm(Call& call) {
  IntervalTimer& timer = call.process.timers.interval[ITIMER_REAL];
  const std::int64_t left =
      timer.next ? (left_ns(call, *timer.next) + kNsPerSecond - 1) / kNsPerSecond : 0;
  timer = armed(call, ClockKind::kMonotonic, std::int64_t{call.as_u32(0)} * kNsPerSecond, 0);
  return left;
}

SysResult sys_timer_create(Call& call) {
  SysOr<ClockKind> clock = clock_kind(call.as_int(0));
  if (!clock.ok()) {
    return clock.error();
  }
  SignalTimers& timers = call.process.timers;
  if (timers.posix.size() >= kPosixTimersMax) {
    return -EAGAIN;
  }
  std::int32_t id = timers.next_posix;
  while (timers.posix.contains(id)) {
    id = id == INT32_MAX ? 0 : id + 1;
  }
  PosixTimer timer{.clock = *clock, .signal = SIGALRM};
  if (call[1] == 0) {
    timer.value = static_cast<std::uint64_t>(id);
  } else if (const SysResult wrong = read_event(call, timer); wrong != 0) {
    return wrong;
  }
  if (call.user.put(call.address(2), id) != 0) {
    return -EFAULT;
  }
  timers.posix.emplace(id, timer);
  timers.next_posix = id == INT32_MAX ? 0 : id + 1;
  return 0;
}

SysResult sys_timer_settime(Call& call) {
  PosixTimer* const timer = posix_timer(call);
  if (timer == nullptr) {
    return -EINVAL;
  }
  const auto wanted = call.user.get<itimerspec>(call.address(2));
  if (!wanted) {
    return -EFAULT;
  }
  const auto value = ns_of(wanted->it_value);
  const auto interval = ns_of(wanted->it_interval);
  if (!value || !interval) {
    return -EINVAL;
  }
  if (call[3] != 0 && put_timer(call, call.address(3), *timer) != 0) {
    return -EFAULT;
  }
  timer->timer = armed(call, timer->clock, *value, *interval);
  if (timer->timer.next && (call.as_int(1) & TIMER_ABSTIME) != 0) {
    timer->timer.next->at_ns = *value;
  }
  timer->overrun = 0;
  return 0;
}

SysResult sys_timer_gettime(Call& call) {
  const PosixTimer* const timer = posix_timer(call);
  return timer == nullptr ? -EINVAL : put_timer(call, call.address(1), *timer);
}

SysResult sys_timer_getoverrun(Call& call) {
  const PosixTimer* const timer = posix_timer(call);
  return timer == nullptr ? -EINVAL : timer->overrun;
}

SysResult sys_timer_delete(Call& call) {
  return call.process.timers.posix.erase(call.as_int(0)) == 0 ? -EINVAL : 0;
}

}  // namespace stasis::linux_guest
