// Ctrl-C and SIGTERM: asked for once, they let the command clean up; twice, they kill.
#pragma once

#include <atomic>
#include <chrono>
#include <optional>

#include "core/clock.h"
#include "core/result.h"

namespace stasis::cli {

// Installs the handlers for SIGINT and SIGTERM (one-shot: the second signal has its default
// effect) and ignores SIGPIPE, so that a closed pipe is a write error and not a death in the middle
// of a save. Once, at the start of main().
void install_signal_handlers();

[[nodiscard]] bool interrupted() noexcept;
// Usable where a library takes a flag that cancels.
const std::atomic<bool>& interrupt_flag() noexcept;

// Repeats `wait(slice)` until it returns anything but kTimeout, `timeout` has passed, or
// interrupted(). Waiting in slices costs no latency: an event ends the slice at once. `tick` is
// called between slices, for progress.
template <typename Wait, typename Tick>
auto wait_in_slices(std::chrono::nanoseconds timeout, Wait wait, Tick tick)
    -> decltype(wait(timeout)) {
  constexpr std::chrono::nanoseconds kSlice = std::chrono::milliseconds(100);
  const MonotonicNs begin = host_clock().now();
  while (true) {
    const std::chrono::nanoseconds left =
        timeout - std::chrono::nanoseconds(host_clock().now() - begin);
    auto outcome =
        wait(left < kSlice ? (left.count() > 0 ? left : std::chrono::nanoseconds(0)) : kSlice);
    if (outcome || outcome.error().code != Errc::kTimeout || interrupted() || left <= kSlice) {
      return outcome;
    }
    tick();
  }
}

}  // namespace stasis::cli
