#include "kvm/kick_signal.h"

#include <pthread.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigaction() is POSIX, not C++.

#include <cerrno>

namespace stasis::kvm {
namespace {

void do_nothing(int) {}

Result<int> install() {
  for (int number = SIGRTMIN + 4; number <= SIGRTMAX; ++number) {
    struct sigaction current {};
    if (::sigaction(number, nullptr, &current) != 0) {
      return errno_error(errno, "sigaction");
    }
    if (current.sa_handler != SIG_DFL) {  // NOLINT: the kernel's macro is a cast.
      continue;
    }
    struct sigaction ours {};
    ours.sa_handler = do_nothing;  // NOLINT(cppcoreguidelines-pro-type-union-access)
    ours.sa_flags = SA_RESTART;
    ::sigemptyset(&ours.sa_mask);
    if (::sigaction(number, &ours, nullptr) != 0) {
      return errno_error(errno, "sigaction");
    }
    return number;
  }
  return Error{Errc::kIo, 0,
               "every real-time signal of this process has a handler; a vCPU needs one of its own "
               "to be interrupted"};
}

}  // namespace

Result<int> kick_signal() {
  static const Result<int> installed = install();
  return installed;
}

Result<void> unblock_kick_signal(int signal_number) {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, signal_number);
  const int os_error = ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  if (os_error != 0) {
    return errno_error(os_error, "pthread_sigmask");
  }
  return {};
}

}  // namespace stasis::kvm
