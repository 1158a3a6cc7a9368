// Clocks, sleeping and the interval timer.
#include <errno.h>
#include <sys/resource.h>
#include <sys/times.h>

#include <algorithm>

#include "guests/linux/calls/handlers.h"
#include "guests/linux/calls/times.h"

namespace stasis::linux_guest {
namespace {

// Until the deadline or a signal. How long is left is told when a signal comes (Scheduler).
SysResult sleep_until(Call& call, const Deadline& deadline) {
  if (call.is_too_late || call.process.clock.is_past(deadline)) {
    return 0;
  }
  return call.wait({Wait::Until::kPassed, deadline, false});
}

// One interval timer to and from the guest.
SysResult put_timer(Call& call, UserAddress to) {
  const IntervalTimer& timer = call.process.real_timer;
  const itimerval value{
      timeval_of(timer.interval_ns),
      timeval_of(timer.next ? std::max<std::int64_t>(1000, left_ns(call, *timer.next)) : 0)};
  return call.user.put(to, value);
}

void arm(Call& call, std::int64_t value_ns, std::int64_t interval_ns) {
  call.process.real_timer = {
      value_ns == 0 ? std::nullopt : std::optional(call.process.clock.after(value_ns)),
      interval_ns};
}

}  // namespace

SysResult sys_clock_gettime(Call& call) {
  SysOr<ClockKind> kind = clock_kind(call.as_int(0));
  return kind.ok() ? call.user.put(call.address(1), timespec_of(call.process.clock.now_ns(*kind)))
                   : kind.error();
}

SysResult sys_clock_getres(Call& call) {
  SysOr<ClockKind> kind = clock_kind(call.as_int(0));
  if (!kind.ok() || call[1] == 0) {
    return kind.error();
  }
  return call.user.put(call.address(1), timespec{0, 1});
}

SysResult sys_gettimeofday(Call& call) {
  if (call[0] != 0) {
    if (call.user.put(call.address(0), timeval_of(call.process.clock.real_ns())) != 0) {
      return -EFAULT;
    }
  }
  return call[1] == 0 ? 0 : call.user.put(call.address(1), std::array<std::int32_t, 2>{});
}

SysResult sys_time(Call& call) {
  const std::int64_t seconds = call.process.clock.real_ns() / kNsPerSecond;
  if (call[0] != 0 && call.user.put(call.address(0), seconds) != 0) {
    return -EFAULT;
  }
  return seconds;
}

SysResult sys_times(Call& call) {
  constexpr std::int64_t kTickNs = 10'000'000;  // 100 a second, as sysconf(_SC_CLK_TCK) says.
  const std::int64_t ticks = call.process.clock.monotonic_ns() / kTickNs;
  if (call[0] != 0 && call.user.put(call.address(0), tms{ticks, 0, 0, 0}) != 0) {
    return -EFAULT;
  }
  return ticks;
}

SysResult sys_getrusage(Call& call) {
  if (call.as_int(0) != RUSAGE_SELF && call.as_int(0) != RUSAGE_CHILDREN &&
      call.as_int(0) != RUSAGE_THREAD) {
    return -EINVAL;
  }
  rusage usage{};
  if (call.as_int(0) != RUSAGE_CHILDREN) {
    usage.ru_utime = timeval_of(call.process.clock.monotonic_ns());
    usage.ru_maxrss = static_cast<long>(call.process.memory->resident_bytes() / 1024);
  }
  return call.user.put(call.address(1), usage);
}

SysResult sys_nanosleep(Call& call) {
  if (call.resumed != nullptr) {
    return sleep_until(call, *call.resumed->deadline);
  }
  if (call[0] == 0) {
    return -EFAULT;
  }
  auto deadline = deadline_after(call, call.address(0));
  return deadline.ok() ? sleep_until(call, **deadline) : deadline.error();
}

SysResult sys_clock_nanosleep(Call& call) {
  if (call.resumed != nullptr) {
    return sleep_until(call, *call.resumed->deadline);
  }
  SysOr<ClockKind> kind = clock_kind(call.as_int(0));
  if (!kind.ok() || (call.as_int(1) & ~TIMER_ABSTIME) != 0) {
    return -EINVAL;
  }
  const auto time = call.user.get<timespec>(call.address(2));
  if (!time) {
    return -EFAULT;
  }
  const auto ns = ns_of(*time);
  if (!ns) {
    return -EINVAL;
  }
  const bool is_absolute = (call.as_int(1) & TIMER_ABSTIME) != 0;
  return sleep_until(call, is_absolute ? Deadline{*kind, *ns} : call.process.clock.after(*ns));
}

SysResult sys_getitimer(Call& call) {
  if (call.as_int(0) != ITIMER_REAL) {
    return call.as_int(0) == ITIMER_VIRTUAL || call.as_int(0) == ITIMER_PROF
               ? call.user.put(call.address(1), itimerval{})
               : -EINVAL;
  }
  return put_timer(call, call.address(1));
}

SysResult sys_setitimer(Call& call) {
  if (call.as_int(0) != ITIMER_REAL) {
    return -EINVAL;  // Processor time is not measured; the others cannot be had.
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
  if (call[2] != 0 && put_timer(call, call.address(2)) != 0) {
    return -EFAULT;
  }
  arm(call, *value, *interval);
  return 0;
}

SysResult sys_alarm(Call& call) {
  const auto& next = call.process.real_timer.next;
  const std::int64_t left = next ? (left_ns(call, *next) + kNsPerSecond - 1) / kNsPerSecond : 0;
  arm(call, std::int64_t{call.as_u32(0)} * kNsPerSecond, 0);
  return left;
}

}  // namespace stasis::linux_guest
