#include "core/host_thread.h"

#include <pthread.h>
#include <sched.h>

#include <string>
#include <system_error>

namespace stasis::internal {

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

}  // namespace stasis::internal
