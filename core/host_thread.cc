#include "core/host_thread.h"

#include <pthread.h>
#include <sched.h>

#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "core/check.h"

namespace stasis {
namespace {

// What the new thread does first and then.
struct Start {
  std::function<void()> body;
#if defined(__linux__)
  cpu_set_t allowed = {};  // To be taken back, if it was narrowed for the start.
  bool narrowed = false;
#endif
};

#if defined(__linux__)
// Takes the caller's own CPU from those that `attributes` allow, unless it is the only one.
void start_elsewhere(pthread_attr_t& attributes, Start& start) {
  const int here = ::sched_getcpu();
  if (here < 0 || ::sched_getaffinity(0, sizeof(start.allowed), &start.allowed) != 0) {
    return;  // More CPUs than a cpu_set_t holds: the kernel chooses.
  }
  cpu_set_t others = start.allowed;
  CPU_CLR(static_cast<unsigned>(here), &others);
  start.narrowed = CPU_COUNT(&others) > 0 &&
                   ::pthread_attr_setaffinity_np(&attributes, sizeof(others), &others) == 0;
}

void roam(const Start& start) {
  if (start.narrowed) {  // A refusal leaves the thread where it is, which is no error.
    static_cast<void>(
        ::pthread_setaffinity_np(::pthread_self(), sizeof(start.allowed), &start.allowed));
  }
}
#else
void start_elsewhere(pthread_attr_t&, Start&) {}
void roam(const Start&) {}
#endif

extern "C" void* run_thread(void* argument) {
  const std::unique_ptr<Start> start(static_cast<Start*>(argument));
  roam(*start);
  start->body();
  return nullptr;
}

}  // namespace

Result<HostThread> HostThread::start(std::string_view purpose, std::function<void()> body) {
  auto start = std::make_unique<Start>();
  start->body = std::move(body);
  pthread_attr_t attributes;
  STASIS_CHECK(::pthread_attr_init(&attributes) == 0);
  start_elsewhere(attributes, *start);
  pthread_t handle{};
  const int error = ::pthread_create(&handle, &attributes, run_thread, start.get());
  ::pthread_attr_destroy(&attributes);
  if (error != 0) {
    return errno_error(error, "start " + std::string(purpose));
  }
  static_cast<void>(start.release());  // The thread's now.
  return HostThread(handle);
}

HostThread::HostThread(HostThread&& other) noexcept
    : handle_(other.handle_), joinable_(std::exchange(other.joinable_, false)) {}

HostThread& HostThread::operator=(HostThread&& other) noexcept {
  if (this != &other) {
    join();
    handle_ = other.handle_;
    joinable_ = std::exchange(other.joinable_, false);
  }
  return *this;
}

void HostThread::join() noexcept {
  if (std::exchange(joinable_, false)) {
    STASIS_CHECK(::pthread_join(handle_, nullptr) == 0);
  }
}

#if defined(__linux__)
Result<void> pin_this_thread(int host_cpu) {
  const std::string what = "pin to host CPU " + std::to_string(host_cpu);
  if (host_cpu < 0 || host_cpu >= CPU_SETSIZE) {
    return Error{Errc::kInvalidArgument, 0, what + ": there is no such CPU"};
  }
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<unsigned>(host_cpu), &cpus);
  // Returns its error; EINVAL when none of the CPUs is both present and allowed (man 3).
  if (const int error = ::pthread_setaffinity_np(::pthread_self(), sizeof(cpus), &cpus);
      error != 0) {
    return Error{Errc::kInvalidArgument, error,
                 what + ": " + std::generic_category().message(error) +
                     "; choose from the CPUs that 'nproc' and 'taskset -p' show"};
  }
  return {};
}
#else
Result<void> pin_this_thread(int) {
  return Error{Errc::kNotSupported, 0, "this host cannot pin threads to CPUs"};
}
#endif

}  // namespace stasis
