#include "core/vcpu_timer.h"

#include <chrono>

namespace stasis::internal {

VcpuTimer::~VcpuTimer() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

Result<void> VcpuTimer::set(std::optional<MonotonicNs> at) {
  {
    const MutexLock lock(mutex_);
    at_ = at;
    if (!at) {
      return {};
    }
    if (thread_.joinable()) {
      if (*at < asleep_until_) {
        changed_.notify_one();
      }
      return {};
    }
  }
  STASIS_ASSIGN(thread_, HostThread::start("the timer of a vCPU", [this] { main(); }));
  return {};
}

void VcpuTimer::main() {
  mutex_.lock();
  while (!stopping_) {
    const MonotonicNs now = at_ ? host_clock().now() : 0;
    if (!at_) {
      asleep_until_ = std::numeric_limits<MonotonicNs>::max();
      changed_.wait(mutex_);
    } else if (*at_ <= now) {
      at_.reset();
      mutex_.unlock();
      ring_();
      mutex_.lock();
    } else {
      asleep_until_ = *at_;
      static_cast<void>(
          changed_.wait_until(mutex_, deadline_after(std::chrono::nanoseconds(*at_ - now))));
    }
  }
  mutex_.unlock();
}

}  // namespace stasis::internal
