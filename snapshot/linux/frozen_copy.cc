#include "snapshot/linux/frozen_copy.h"

#include <fcntl.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigprocmask() is POSIX.
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#ifndef SYS_close_range  // Linux 5.9; the same number on every architecture.
#define SYS_close_range 436
#endif

namespace stasis::snapshot::internal {
namespace {

// The child's whole life. It shares no memory with the parent, but it is the copy of one thread of
// many: locks may be held for ever, so it makes system calls and nothing else.
[[noreturn]] __attribute__((no_sanitize("address", "thread", "undefined"), noinline)) void
sleep_in_child(int pipe, int parents_end) {
  (void)::syscall(SYS_close, parents_end);  // Also where the kernel cannot close the rest.
  if (pipe > 0) {
    (void)::syscall(SYS_close_range, 0U, static_cast<unsigned>(pipe) - 1U, 0U);
  }
  (void)::syscall(SYS_close_range, static_cast<unsigned>(pipe) + 1U, ~0U, 0U);
  char nothing = 0;
  // Ends when the parent closes its end, or ends itself.
  while (::syscall(SYS_read, pipe, &nothing, 1UL) < 0) {
  }
  for (;;) {
    (void)::syscall(SYS_exit_group, 0);
  }
}

// As fork(2), but without the C library's handlers, which the child has no use for, and without a
// signal at its end, so that nobody who waits for children of their own meets it: clone(2).
pid_t fork_silently() {
#if defined(__s390__)
  return static_cast<pid_t>(::syscall(SYS_clone, nullptr, 0UL, nullptr, nullptr, nullptr));
#else
  return static_cast<pid_t>(::syscall(SYS_clone, 0UL, nullptr, nullptr, nullptr, nullptr));
#endif
}

Error fork_error(int os_error) {
  Error error = errno_error(os_error, "fork this process, to keep a copy of its memory");
  if (os_error == EAGAIN) {
    error.message += "; raise the limit on processes (ulimit -u)";
  } else if (os_error == ENOMEM) {
    error.message +=
        "; the host cannot promise the memory twice: allow overcommitment "
        "(vm.overcommit_memory=0 or 1), or use another --tracker";
  }
  return error;
}

}  // namespace

Result<FrozenCopy> FrozenCopy::take() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return errno_error(errno, "pipe");
  }
  const UniqueFd theirs(ends[0]);
  UniqueFd ours(ends[1]);
  // A handler of ours must not run in the child.
  sigset_t all{};
  sigset_t before{};
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t child = fork_silently();
  if (child == 0) {
    sleep_in_child(theirs.get(), ours.get());
  }
  const int refused = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) {
    return fork_error(refused);
  }
  return FrozenCopy(child, std::move(ours));
}

void FrozenCopy::end() noexcept {
  if (child_ > 0) {
    ::kill(child_, SIGKILL);
    while (::waitpid(child_, nullptr, __WALL) < 0 && errno == EINTR) {
    }
    child_ = -1;
  }
}

FrozenCopy::~FrozenCopy() {
  end();
}

FrozenCopy::FrozenCopy(FrozenCopy&& other) noexcept
    : child_(std::exchange(other.child_, -1)), pipe_(std::move(other.pipe_)) {}

FrozenCopy& FrozenCopy::operator=(FrozenCopy&& other) noexcept {
  if (this != &other) {
    end();
    child_ = std::exchange(other.child_, -1);
    pipe_ = std::move(other.pipe_);
  }
  return *this;
}

Result<void> FrozenCopy::read(const std::byte* address, std::span<std::byte> out) const {
  while (!out.empty()) {
    const iovec into{out.data(), out.size()};
    // The kernel only reads there; the structure is made for both directions.
    const iovec from{const_cast<std::byte*>(address), out.size()};  // NOLINT
    const ssize_t got = ::process_vm_readv(child_, &into, 1, &from, 1, 0);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      Error error = errno_error(got < 0 ? errno : EIO, "read the frozen copy of this process");
      if (error.os_error == EPERM || error.os_error == EACCES) {
        error.message +=
            "; reading a child's memory is forbidden here: set kernel.yama.ptrace_scope to 0 or 1";
      } else if (error.os_error == ESRCH) {
        error.message += "; the process that held it was killed";
      }
      return error;
    }
    address += got;
    out = out.subspan(static_cast<std::size_t>(got));
  }
  return {};
}

}  // namespace stasis::snapshot::internal
