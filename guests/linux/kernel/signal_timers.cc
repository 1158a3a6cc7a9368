#include "guests/linux/kernel/signal_timers.h"

#include <signal.h>

#include <algorithm>
#include <limits>

#include "guests/linux/kernel/process.h"

namespace stasis::linux_guest {
namespace {

constexpr std::array<int, kIntervalTimers> kSignals = {SIGALRM, SIGVTALRM, SIGPROF};

// A signal that is still to be delivered counts what comes after it (timer_getoverrun(2)).
void fire(Process& process, std::int32_t id, PosixTimer& timer, std::int64_t expirations) {
  if (timer.signal == 0) {
    return;
  }
  Thread* const thread = timer.thread == 0 ? nullptr : process.threads.find(timer.thread);
  if ((timer.thread != 0 && thread == nullptr) || process.threads.all().empty()) {
    return;
  }
  auto& queue = thread == nullptr ? process.signals.shared() : thread->pending;
  const auto queued = std::ranges::find_if(queue, [&](const SignalInfo& info) {
    return info.signal == timer.signal && info.code == SI_TIMER && info.process == id;
  });
  constexpr std::int64_t kOverrunMax = std::numeric_limits<std::int32_t>::max();
  if (queued != queue.end()) {
    timer.overrun = static_cast<std::int32_t>(std::min(kOverrunMax, timer.overrun + expirations));
    queued->user = static_cast<std::uint32_t>(timer.overrun);
    return;
  }
  timer.overrun = static_cast<std::int32_t>(std::min(kOverrunMax, expirations - 1));
  process.signals.send({.signal = timer.signal,
                        .code = SI_TIMER,
                        .process = id,
                        .user = static_cast<std::uint32_t>(timer.overrun),
                        .value = timer.value},
                       thread, process.threads.all().begin()->second);
}

}  // namespace

std::int64_t take_expirations(IntervalTimer& timer, const GuestClock& clock) {
  if (!timer.next || !clock.is_past(*timer.next)) {
    return 0;
  }
  if (timer.interval_ns == 0) {
    timer.next.reset();
    return 1;
  }
  const std::int64_t late = add_ns(clock.now_ns(timer.next->clock), -timer.next->at_ns);
  const std::int64_t missed = late / timer.interval_ns;
  timer.next->at_ns = add_ns(timer.next->at_ns, (missed + 1) * timer.interval_ns);
  return missed + 1;
}

void fire_timers(Process& process) {
  SignalTimers& timers = process.timers;
  for (std::size_t i = 0; i < kIntervalTimers; ++i) {
    if (take_expirations(timers.interval[i], process.clock) != 0) {
      process.send_to_process(kSignals[i], SI_KERNEL);
    }
  }
  for (auto& [id, timer] : timers.posix) {
    if (const std::int64_t count = take_expirations(timer.timer, process.clock); count != 0) {
      fire(process, id, timer, count);
    }
  }
}

std::optional<MonotonicNs> first_expiration(const SignalTimers& timers, const GuestClock& clock) {
  std::optional<MonotonicNs> first;
  const auto add = [&](const IntervalTimer& timer) {
    if (timer.next) {
      const MonotonicNs at = clock.on_host(*timer.next);
      first = first ? std::min(*first, at) : at;
    }
  };
  for (const IntervalTimer& timer : timers.interval) {
    add(timer);
  }
  for (const auto& [id, timer] : timers.posix) {
    if (timer.signal != 0) {
      add(timer.timer);
    }
  }
  return first;
}

}  // namespace stasis::linux_guest
