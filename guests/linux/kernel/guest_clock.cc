#include "guests/linux/kernel/guest_clock.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace stasis::linux_guest {

std::int64_t add_ns(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) {
    return b > 0 ? std::numeric_limits<std::int64_t>::max()
                 : std::numeric_limits<std::int64_t>::min();
  }
  return sum;
}

std::int64_t GuestClock::since_ns(std::uint64_t counter) const {
  __extension__ using Wide = unsigned __int128;
  const std::uint64_t counts = counter > follows_.counter ? counter - follows_.counter : 0;
  return static_cast<std::int64_t>((Wide{counts} * follows_.multiplier) >> 32U);
}

std::int64_t GuestClock::real_ns() const {
  return counter_ ? add_ns(follows_.real_ns, since_ns(counter_())) : host_->wall_ns();
}

std::int64_t GuestClock::monotonic_ns() const {
  if (counter_) {
    return add_ns(follows_.monotonic_ns, since_ns(counter_()));
  }
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

// The counter is read before the clocks that it stands for, so that none of them is set back.
CounterTime GuestClock::follow(std::function<std::uint64_t()> counter, std::uint32_t khz) {
  constexpr std::uint64_t kNsPerMillisecond = 1'000'000;
  const std::uint64_t now = counter();
  follows_ = {.counter = now,
              .monotonic_ns = monotonic_ns(),
              .real_ns = host_->wall_ns(),
              .multiplier = (kNsPerMillisecond << 32U) / std::max<std::uint32_t>(khz, 1)};
  counter_ = std::move(counter);
  corrected_ = host_->now();
  return follows_;
}

std::optional<CounterTime> GuestClock::correct() {
  if (!counter_ || host_->now() - corrected_ < kCorrectionNs) {
    return std::nullopt;
  }
  corrected_ = host_->now();
  const std::uint64_t now = counter_();
  const std::int64_t passed = since_ns(now);
  const std::int64_t host = host_->wall_ns();
  const std::int64_t ours = add_ns(follows_.real_ns, passed);
  if (ours >= host && ours - host < kAheadNsMax) {
    return std::nullopt;
  }
  follows_.counter = now;
  follows_.monotonic_ns = add_ns(follows_.monotonic_ns, passed);
  follows_.real_ns = host;
  return follows_;
}

void GuestClock::resume_at(std::int64_t monotonic_ns, std::int64_t waited_ns) {
  started_ = host_->now();
  offset_ns_ = monotonic_ns;
  waited_ns_ = waited_ns;
  wait_began_ns_.reset();
  counter_ = nullptr;
}

}  // namespace stasis::linux_guest
