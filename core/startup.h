// The meeting point of a Machine's creation: the thread of vCPU 0 has the VM and registers memory,
// every vCPU thread creates its vCPU and loads it, the owner loads the devices. Private to core/.
//
// Every hand-over between threads costs microseconds of every restore, so there are only two: the
// VM exists, and everybody is done. In StartMode::kRunning a vCPU enters the guest right behind the
// second one.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "core/hypervisor.h"
#include "core/milestones.h"
#include "core/mutex.h"
#include "core/result.h"

namespace stasis::internal {

// Thread-safe. Participants of the second meeting are the owner and every vCPU thread, once each.
class Startup {
 public:
  Startup(std::uint32_t vcpus, MilestoneLog* milestones)
      : milestones_(milestones), states_left_(vcpus + 1), participants_left_(vcpus + 1) {}

  // Once: the VM exists and has its memory; nullptr: there will be none, every vCPU thread gives
  // up.
  void publish_vm(Vm* vm) noexcept;
  // vCPU thread: waits for publish_vm().
  [[nodiscard]] Vm* wait_for_vm() const noexcept;

  // One participant's part of the initial state is loaded; the last one records Milestone::kState.
  void state_loaded() noexcept;

  // This participant has done its part, or failed.
  void arrive(Result<void> outcome);
  // Waits for all participants; true when none has failed.
  [[nodiscard]] bool wait_for_all() const noexcept;
  // After wait_for_all() was false: what failed first.
  [[nodiscard]] Error failure() const;

 private:
  MilestoneLog* const milestones_;
  Vm* vm_ = nullptr;  // Written before and read after vm_published_ changes.
  std::atomic<std::uint32_t> vm_published_ = 0;
  std::atomic<std::uint32_t> states_left_;
  std::atomic<std::uint32_t> participants_left_;
  std::atomic<bool> failed_ = false;
  mutable Mutex mutex_;
  std::optional<Error> failure_ STASIS_GUARDED_BY(mutex_);
};

}  // namespace stasis::internal
