// The timers that end in a signal: setitimer(2), alarm(2) and timer_create(2).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>

#include "guests/linux/kernel/guest_clock.h"

namespace stasis::linux_guest {

struct IntervalTimer {
  std::optional<Deadline> next = {};
  std::int64_t interval_ns = 0;
  friend bool operator==(const IntervalTimer&, const IntervalTimer&) = default;
};

// How often the timer has expired by now, at least once if `next` is past; it is then armed for
// what comes after, or disarmed. 0: not yet.
[[nodiscard]] std::int64_t take_expirations(IntervalTimer& timer, const GuestClock& clock);

// The interval timers by their number, ITIMER_REAL, ITIMER_VIRTUAL and ITIMER_PROF.
constexpr std::size_t kIntervalTimers = 3;

// Of timer_create(2). Value.
struct PosixTimer {
  ClockKind clock = ClockKind::kMonotonic;
  std::int32_t signal = 0;  // 0: SIGEV_NONE.
  std::int32_t thread = 0;  // 0: the process.
  std::uint64_t value = 0;
  std::int32_t overrun = 0;  // Of the last signal that was sent.
  IntervalTimer timer = {};
  friend bool operator==(const PosixTimer&, const PosixTimer&) = default;
};
constexpr std::size_t kPosixTimersMax = 1024;

// Value.
struct SignalTimers {
  std::array<IntervalTimer, kIntervalTimers> interval = {};
  std::map<std::int32_t, PosixTimer> posix = {};
  std::int32_t next_posix = 0;
  friend bool operator==(const SignalTimers&, const SignalTimers&) = default;
};

struct Process;
// Sends the signals of the timers that have expired. What a timer missed is one signal.
void fire_timers(Process& process);
// When the first of them expires, on the clock of the host.
[[nodiscard]] std::optional<MonotonicNs> first_expiration(const SignalTimers& timers,
                                                          const GuestClock& clock);

}  // namespace stasis::linux_guest
