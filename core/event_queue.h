// The events of a Machine on their way from vCPU threads to its owner. Private to core/.
#pragma once

#include <chrono>
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
  // The oldest event; nothing when none came until `deadline`.
  std::optional<MachineEvent> wait(std::chrono::steady_clock::time_point deadline);
  void clear();

 private:
  Mutex mutex_;
  ConditionVariable posted_;
  std::deque<MachineEvent> events_ STASIS_GUARDED_BY(mutex_);
};

}  // namespace stasis::internal
