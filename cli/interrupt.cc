#include "cli/interrupt.h"

#include <csignal>

namespace stasis::cli {

namespace {

// Lock-free, so a signal handler may store to it (C++ [support.signal]).
std::atomic<bool> g_interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);

void on_signal(int /*signal*/) {
  g_interrupted.store(true, std::memory_order_relaxed);
}

}  // namespace

void install_signal_handlers() {
  struct sigaction action = {};
  action.sa_handler = on_signal;  // NOLINT(cppcoreguidelines-pro-type-union-access)
  sigemptyset(&action.sa_mask);
  // SA_RESTART: no library call fails with EINTR because of us; every wait is in slices.
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;  // NOLINT(cppcoreguidelines-pro-type-union-access)
  sigemptyset(&ignore.sa_mask);
  sigaction(SIGPIPE, &ignore, nullptr);
}

bool interrupted() noexcept {
  return g_interrupted.load(std::memory_order_relaxed);
}

const std::atomic<bool>& interrupt_flag() noexcept {
  return g_interrupted;
}

}  // namespace stasis::cli
