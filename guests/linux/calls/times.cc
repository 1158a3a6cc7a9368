#include "guests/linux/calls/times.h"

#include <errno.h>

#include <algorithm>
#include <limits>

namespace stasis::linux_guest {
namespace {

std::optional<std::int64_t> ns_from(std::int64_t seconds, std::int64_t rest, std::int64_t unit_ns) {
  if (seconds < 0 || rest < 0 || rest >= kNsPerSecond / unit_ns) {
    return std::nullopt;
  }
  if (seconds >= std::numeric_limits<std::int64_t>::max() / kNsPerSecond) {
    return std::numeric_limits<std::int64_t>::max();
  }
  return (seconds * kNsPerSecond) + (rest * unit_ns);
}

}  // namespace

std::optional<std::int64_t> ns_of(const timespec& time) {
  return ns_from(time.tv_sec, time.tv_nsec, 1);
}
std::optional<std::int64_t> ns_of(const timeval& time) {
  return ns_from(time.tv_sec, time.tv_usec, 1000);
}
timespec timespec_of(std::int64_t ns) {
  return {ns / kNsPerSecond, ns % kNsPerSecond};
}
timeval timeval_of(std::int64_t ns) {
  return {ns / kNsPerSecond, ns % kNsPerSecond / 1000};
}

SysOr<std::optional<Deadline>> deadline_after(const Call& call, UserAddress timeout) {
  if (timeout.value == 0) {
    return std::optional<Deadline>();
  }
  const auto time = call.user.get<timespec>(timeout);
  if (!time) {
    return Errno{EFAULT};
  }
  const auto ns = ns_of(*time);
  if (!ns) {
    return Errno{EINVAL};
  }
  return std::optional(call.process.clock.after(*ns));
}

std::int64_t left_ns(const Call& call, const Deadline& deadline) {
  return std::max<std::int64_t>(0,
                                add_ns(deadline.at_ns, -call.process.clock.now_ns(deadline.clock)));
}

SysOr<ClockKind> clock_kind(int clock_id) {
  switch (clock_id) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_REALTIME_ALARM:
    case CLOCK_TAI:
      return ClockKind::kReal;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
    case CLOCK_BOOTTIME_ALARM:
      return ClockKind::kMonotonic;
    case CLOCK_PROCESS_CPUTIME_ID:
    case CLOCK_THREAD_CPUTIME_ID:  // Not told apart.
      return ClockKind::kProcessor;
    default:
      return Errno{EINVAL};
  }
}

}  // namespace stasis::linux_guest
