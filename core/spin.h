// Waiting without going to sleep, for hand-overs on the way to a guest's first instruction. Private
// to core/.
#pragma once

#include <sched.h>

#include <chrono>

namespace stasis::internal {

// Waking a thread costs little on a machine's own CPU, but 0.1 to 0.2 ms where an idle CPU is one
// that a hypervisor has taken away. What is waited for in a restore takes less than this.
constexpr std::chrono::microseconds kSpinMax{500};

// Returns true as soon as `done` does, false after `spin_max`. Yields, so that on a single CPU the
// thread that is waited for runs.
template <typename Done>
bool spin_until(Done done, std::chrono::microseconds spin_max = kSpinMax) {
  const auto deadline = std::chrono::steady_clock::now() + spin_max;
  while (!done()) {
    if (std::chrono::steady_clock::now() > deadline) {
      return false;
    }
    ::sched_yield();
  }
  return true;
}

}  // namespace stasis::internal
