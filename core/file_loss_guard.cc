#include "core/file_loss_guard.h"

#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigaction() is POSIX, not C++.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <string>

#include "core/check.h"

namespace stasis {
namespace {

constexpr std::size_t kStretchBytes = std::size_t{2} << 20U;

// The list of guards. SIGBUS is raised by the thread that touches a mapping, and no thread touches
// one while it holds this lock, so the handler may wait for it: the holder is another thread, and
// it does nothing but link.
class ListLock {
 public:
  ListLock() noexcept {
    // Acquire and release below: the list is seen as the last holder left it.
    while (g_locked.test_and_set(std::memory_order_acquire)) {
    }
  }
  ~ListLock() { g_locked.clear(std::memory_order_release); }
  ListLock(const ListLock&) = delete;
  ListLock& operator=(const ListLock&) = delete;

 private:
  static inline std::atomic_flag g_locked = ATOMIC_FLAG_INIT;
};

FileLossGuard* g_first = nullptr;  // Under ListLock.
std::size_t g_page_bytes = 4096;   // Constant after install().
struct sigaction g_previous {};    // Constant after install().

void on_sigbus(int number, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  if (info->si_code == BUS_ADRERR && FileLossGuard::mend(static_cast<std::byte*>(info->si_addr))) {
    errno = saved_errno;
    return;
  }
  // NOLINTBEGIN(cppcoreguidelines-pro-type-union-access): the shape of sigaction().
  if ((g_previous.sa_flags & SA_SIGINFO) != 0) {
    g_previous.sa_sigaction(number, info, context);
  } else if (g_previous.sa_handler != SIG_DFL && g_previous.sa_handler != SIG_IGN) {  // NOLINT
    g_previous.sa_handler(number);
  } else {
    // The touch is repeated on return and then has its default effect.
    ::sigaction(number, &g_previous, nullptr);
  }
  // NOLINTEND(cppcoreguidelines-pro-type-union-access)
  errno = saved_errno;
}

Result<void> install() {
  g_page_bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  struct sigaction ours {};
  ours.sa_sigaction = on_sigbus;  // NOLINT(cppcoreguidelines-pro-type-union-access)
  ours.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  ::sigemptyset(&ours.sa_mask);
  if (::sigaction(SIGBUS, nullptr, &g_previous) != 0 || ::sigaction(SIGBUS, &ours, nullptr) != 0) {
    return errno_error(errno, "install a handler for SIGBUS");
  }
  return {};
}

Result<void> installed() {
  static const Result<void> outcome = install();
  return outcome;
}

}  // namespace

Result<void> FileLossGuard::watch(std::byte* begin, std::size_t size_bytes) {
  STASIS_CHECK(!is_watching() && size_bytes > 0);
  STASIS_TRY(installed());
  begin_ = begin;
  size_bytes_ = size_bytes;
  lost_.store(false, std::memory_order_relaxed);
  const ListLock lock;
  next_ = g_first;
  g_first = this;
  return {};
}

void FileLossGuard::release() noexcept {
  if (!is_watching()) {
    return;
  }
  {
    const ListLock lock;
    FileLossGuard** link = &g_first;
    while (*link != this) {
      link = &(*link)->next_;
    }
    *link = next_;
  }
  size_bytes_ = 0;
}

Result<void> FileLossGuard::check(std::string_view what) const {
  if (!lost_.load(std::memory_order_relaxed)) {
    return {};
  }
  return Error{Errc::kIo, 0,
               std::string(what) +
                   ": a file that it maps was cut short, or can no longer be read, while it was in "
                   "use; what it held is lost here. Do not change the files of a snapshot that is "
                   "in use, and check it with `stasis verify`"};
}

bool FileLossGuard::mend(std::byte* touched) noexcept {
  const ListLock lock;
  for (FileLossGuard* guard = g_first; guard != nullptr; guard = guard->next_) {
    std::byte* const begin = guard->begin_;
    std::byte* const end = begin + guard->size_bytes_;
    // Of the library, because addresses of different mappings are compared.
    if (std::less<>()(touched, begin) || !std::less<>()(touched, end)) {
      continue;
    }
    const auto offset = static_cast<std::size_t>(touched - begin);
    std::byte* const first = begin + (offset - offset % g_page_bytes);
    const std::size_t size = std::min(kStretchBytes, static_cast<std::size_t>(end - first));
    guard->lost_.store(true, std::memory_order_relaxed);
    return ::mmap(first, size, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
  }
  return false;
}

}  // namespace stasis
