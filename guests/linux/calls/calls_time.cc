// Clocks and sleeping. Timers are in calls_timers.cc.
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
  const GuestClock& clock = call.process.clock;
  const std::int64_t used = clock.now_ns(ClockKind::kProcessor) / kTickNs;
  if (call[0] != 0 && call.user.put(call.address(0), tms{used, 0, 0, 0}) != 0) {
    return -EFAULT;
  }
  return clock.monotonic_ns() / kTickNs;
}

SysResult sys_getrusage(Call& call) {
  if (call.as_int(0) != RUSAGE_SELF && call.as_int(0) != RUSAGE_CHILDREN &&
      call.as_int(0) != RUSAGE_THREAD) {
    return -EINVAL;
  }
  rusage usage{};
  if (call.as_int(0) != RUSAGE_CHILDREN) {
    usage.ru_utime = timeval_of(call.process.clock.now_ns(ClockKind::kProcessor));
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
  const GuestClock& clock = call.process.clock;
  if ((call.as_int(1) & TIMER_ABSTIME) == 0) {
    return sleep_until(call, clock.after(*ns));
  }
  // Processor time stands still while the process waits: as if others of it ran meanwhile.
  return sleep_until(call, *kind == ClockKind::kProcessor
                               ? clock.after(add_ns(*ns, -clock.now_ns(*kind)))
                               : Deadline{*kind, *ns});
}

}  // namespace stasis::linux_guest
