// HostThread: a joining thread that starts at once, and pinning. What the C++ library cannot say.
#pragma once

#include <pthread.h>

#include <functional>
#include <string_view>

#include "core/result.h"

namespace stasis {

// A joinable thread or none. Resource, movable; one owner at a time.
//
// The thread is placed on another CPU than its creator's where there is one. Left to itself, the
// kernel may queue a new thread behind its creator: on the two virtual CPUs of our measurements
// most threads then began milliseconds later, when the creator first slept, and two threads were as
// slow as one (decision 0012). Only the place to start is chosen: the thread may then run wherever
// its creator may.
class HostThread {
 public:
  HostThread() = default;
  // Runs `body` on a new thread. An error names `purpose` ("the thread of vCPU 3").
  static Result<HostThread> start(std::string_view purpose, std::function<void()> body);
  ~HostThread() { join(); }
  HostThread(HostThread&& other) noexcept;
  HostThread& operator=(HostThread&& other) noexcept;  // Joins the one that was here.
  HostThread(const HostThread&) = delete;
  HostThread& operator=(const HostThread&) = delete;

  [[nodiscard]] bool joinable() const noexcept { return joinable_; }
  void join() noexcept;  // Nothing to do if there is none.

 private:
  explicit HostThread(pthread_t handle) : handle_(handle), joinable_(true) {}
  pthread_t handle_{};
  bool joinable_ = false;
};

// kInvalidArgument for a CPU that this process may not use; kNotSupported where the host has no
// such service (macOS).
Result<void> pin_this_thread(int host_cpu);

}  // namespace stasis
