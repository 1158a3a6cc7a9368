#include "core/event_queue.h"

#include <utility>

#include "core/spin.h"

namespace stasis::internal {

void EventQueue::post(MachineEvent event) {
  {
    const MutexLock lock(mutex_);
    events_.push_back(std::move(event));
    count_.store(events_.size(), std::memory_order_relaxed);
  }
  // Outside the lock, so that the owner does not wake up only to wait for it.
  posted_.notify_one();
}

std::optional<MachineEvent> EventQueue::take() {
  return wait(std::chrono::steady_clock::time_point::min());
}

std::optional<MachineEvent> EventQueue::wait(std::chrono::steady_clock::time_point deadline) {
  bool may_wait = deadline != std::chrono::steady_clock::time_point::min();
  may_wait = may_wait && deadline > std::chrono::steady_clock::now();
  if (may_wait && may_spin_.exchange(false, std::memory_order_relaxed)) {
    const auto is_over = [deadline] { return std::chrono::steady_clock::now() > deadline; };
    spin_until([&] { return count_.load(std::memory_order_relaxed) != 0 || is_over(); },
               kEventSpinMax);
  }
  const MutexLock lock(mutex_);
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
  may_spin_.store(true, std::memory_order_relaxed);
  count_.store(events_.size(), std::memory_order_relaxed);
  return event;
}

void EventQueue::clear() {
  const MutexLock lock(mutex_);
  events_.clear();
  count_.store(0, std::memory_order_relaxed);
}

}  // namespace stasis::internal
