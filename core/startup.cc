#include "core/startup.h"

#include <utility>

#include "core/spin.h"

namespace stasis::internal {

void Startup::publish_vm(Vm* vm) noexcept {
  vm_ = vm;
  vm_published_.store(1, std::memory_order_release);  // Publishes vm_.
  vm_published_.notify_all();
}

Vm* Startup::wait_for_vm() const noexcept {
  vm_published_.wait(0, std::memory_order_acquire);
  return vm_;
}

void Startup::state_loaded() noexcept {
  // Relaxed: the milestone orders nothing.
  if (states_left_.fetch_sub(1, std::memory_order_relaxed) == 1 && milestones_ != nullptr) {
    milestones_->record(Milestone::kState);
  }
}

void Startup::arrive(Result<void> outcome) {
  if (!outcome) {
    const MutexLock lock(mutex_);
    if (!failure_) {
      failure_ = std::move(outcome).error();
    }
    failed_.store(true, std::memory_order_relaxed);  // Ordered by participants_left_.
  }
  // Release what this participant did, acquire what the others did.
  if (participants_left_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    participants_left_.notify_all();
  }
}

bool Startup::wait_for_all() const noexcept {
  spin_until([this] { return participants_left_.load(std::memory_order_acquire) == 0; });
  std::uint32_t left = participants_left_.load(std::memory_order_acquire);
  while (left != 0) {
    participants_left_.wait(left, std::memory_order_acquire);
    left = participants_left_.load(std::memory_order_acquire);
  }
  return !failed_.load(std::memory_order_relaxed);
}

Error Startup::failure() const {
  const MutexLock lock(mutex_);
  STASIS_CHECK(failure_.has_value());
  return *failure_;
}

}  // namespace stasis::internal
