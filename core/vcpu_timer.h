// Calls a function at a time that may be moved: what takes a vCPU out of a guest that does not
// leave by itself. Private to core/.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>

#include "core/clock.h"
#include "core/host_thread.h"
#include "core/mutex.h"
#include "core/result.h"

namespace stasis::internal {

// Thread-safe. Its thread exists from the first time that is set: a vCPU that never asks for one
// does not pay for it. A later or no time leaves the thread asleep until the earlier one, so that
// only an earlier time costs a wake-up.
class VcpuTimer {
 public:
  // `ring` is called on the timer's thread without a lock of the timer's; now and then, when the
  // time was moved at the last moment, for one that no longer holds.
  explicit VcpuTimer(std::function<void()> ring) : ring_(std::move(ring)) {}
  ~VcpuTimer();  // Joins the thread.
  VcpuTimer(const VcpuTimer&) = delete;
  VcpuTimer& operator=(const VcpuTimer&) = delete;

  // Of host_clock(), once; nothing: never. Replaces the time before. An error if there can be no
  // thread. One caller at a time.
  Result<void> set(std::optional<MonotonicNs> at);

 private:
  void main();

  const std::function<void()> ring_;  // Constant after construction.
  Mutex mutex_;
  ConditionVariable changed_;
  std::optional<MonotonicNs> at_ STASIS_GUARDED_BY(mutex_);
  MonotonicNs asleep_until_ STASIS_GUARDED_BY(mutex_) = std::numeric_limits<MonotonicNs>::max();
  bool stopping_ STASIS_GUARDED_BY(mutex_) = false;
  HostThread thread_;  // The caller's of set(); last, so that it ends before what it uses.
};

}  // namespace stasis::internal
