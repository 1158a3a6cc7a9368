#include "guests/linux/kernel/guest_clock.h"

#include <algorithm>
#include <limits>

namespace stasis::linux_guest {

std::int64_t add_ns(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) {
    return b > 0 ? std::numeric_limits<std::int64_t>::max()
                 : std::numeric_limits<std::int64_t>::min();
  }
  return sum;
}

std::int64_t GuestClock::monotonic_ns() const {
  return add_ns(offset_ns_, std::max<std::int64_t>(0, host_->now() - started_));
}

Deadline GuestClock::after(std::int64_t duration_ns, ClockKind clock) const {
  return {clock, add_ns(now_ns(clock), std::max<std::int64_t>(0, duration_ns))};
}

MonotonicNs GuestClock::on_host(const Deadline& deadline) const {
  const std::int64_t now = now_ns(deadline.clock);
  const std::int64_t left = deadline.at_ns <= now ? 0 : add_ns(deadline.at_ns, -now);
  return add_ns(host_->now(), left);
}

void GuestClock::begin_wait() {
  if (!wait_began_ns_) {
    wait_began_ns_ = monotonic_ns();
  }
}

void GuestClock::end_wait() {
  waited_ns_ = waited_ns();
  wait_began_ns_.reset();
}

std::int64_t GuestClock::waited_ns() const {
  return waited_ns_ + (wait_began_ns_ ? monotonic_ns() - *wait_began_ns_ : 0);
}

void GuestClock::resume_at(std::int64_t monotonic_ns, std::int64_t waited_ns) {
  started_ = host_->now();
  offset_ns_ = monotonic_ns;
  waited_ns_ = waited_ns;
  wait_began_ns_.reset();
}

}  // namespace stasis::linux_guest
