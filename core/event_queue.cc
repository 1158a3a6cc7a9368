#include "core/event_queue.h"

#include <utility>

namespace stasis::internal {

void EventQueue::post(MachineEvent event) {
  {
    const MutexLock lock(mutex_);
    events_.push_back(std::move(event));
  }
  // Outside the lock, so that the owner does not wake up only to wait for it.
  posted_.notify_one();
}

std::optional<MachineEvent> EventQueue::take() {
  return wait(std::chrono::steady_clock::time_point::min());
}

std::optional<MachineEvent> EventQueue::wait(std::chrono::steady_clock::time_point deadline) {
  const MutexLock lock(mutex_);
  const bool may_wait = deadline != std::chrono::steady_clock::time_point::min();
  while (events_.empty()) {
    if (!may_wait || posted_.wait_until(mutex_, deadline) == std::cv_status::timeout) {
      break;
    }
  }
  if (events_.empty()) {
    return std::nullopt;
  }
  MachineEvent event = std::move(events_.front());
  events_.pop_front();
  return event;
}

void EventQueue::clear() {
  const MutexLock lock(mutex_);
  events_.clear();
}

}  // namespace stasis::internal
