// The events of a Machine on their way from vCPU threads to its owner. Private to core/.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>

#include "core/device.h"
#include "core/mutex.h"

namespace stasis::internal {

// Thread-safe.
class EventQueue {
 public:
  void post(MachineEvent event);
  // The oldest event, at once or never.
  std::optional<MachineEvent> take();
  // The oldest event; nothing when none came until `deadline`. Looks for kEventSpinMax before it
  // sleeps, once for each event: an answer that comes soon is not to wait until the host has a CPU
  // for its reader, and who waits for long in pieces is not to look all the time.
  std::optional<MachineEvent> wait(std::chrono::steady_clock::time_point deadline);
  void clear();

  static constexpr std::chrono::microseconds kEventSpinMax{2000};

 private:
  Mutex mutex_;
  ConditionVariable posted_;
  std::deque<MachineEvent> events_ STASIS_GUARDED_BY(mutex_);
  // For a look without the lock; both order nothing.
  std::atomic<std::size_t> count_ = 0;  // Of events_.
  std::atomic<bool> may_spin_ = true;   // Nobody has since the last event.
};

}  // namespace stasis::internal
