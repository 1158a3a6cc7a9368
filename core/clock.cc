#include "core/clock.h"

#include <time.h>

namespace stasis {
namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;

std::int64_t nanoseconds_of(clockid_t id) noexcept {
  timespec at{};
  // Cannot fail: the clock exists on every supported host and `at` is writable.
  ::clock_gettime(id, &at);
  return std::int64_t{at.tv_sec} * kNsPerSecond + std::int64_t{at.tv_nsec};
}

class HostClock final : public Clock {
 public:
  [[nodiscard]] MonotonicNs now() const noexcept override {
#if defined(__APPLE__)
    // CLOCK_UPTIME_RAW is mach_absolute_time() in nanoseconds (man 3 clock_gettime_nsec_np).
    return nanoseconds_of(CLOCK_UPTIME_RAW);
#else
    return nanoseconds_of(CLOCK_MONOTONIC_RAW);
#endif
  }
  [[nodiscard]] std::int64_t wall_ns() const noexcept override {
    return nanoseconds_of(CLOCK_REALTIME);
  }
};

}  // namespace

const Clock& host_clock() noexcept {
  static const HostClock clock;
  return clock;
}

}  // namespace stasis
