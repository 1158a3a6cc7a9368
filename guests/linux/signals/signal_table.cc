#include "guests/linux/signals/signal_table.h"

#include <signal.h>

#include <algorithm>

namespace stasis::linux_guest {
namespace {

constexpr std::size_t kQueuedMax = 1024;
constexpr int kFirstRealTime = 32;  // The kernel's, not glibc's SIGRTMIN.

SignalSet set_of(const std::deque<SignalInfo>& queue) {
  SignalSet set;
  for (const SignalInfo& info : queue) {
    set.add(info.signal);
  }
  return set;
}

// Faults first, then the lowest number, then the oldest, as the kernel does.
std::optional<SignalInfo> take_from(std::deque<SignalInfo>& queue, SignalSet wanted) {
  auto best = queue.end();
  for (auto at = queue.begin(); at != queue.end(); ++at) {
    if (!wanted.has(at->signal)) {
      continue;
    }
    const bool is_better = best == queue.end() || (at->is_fault && !best->is_fault) ||
                           (at->is_fault == best->is_fault && at->signal < best->signal);
    if (is_better) {
      best = at;
    }
  }
  if (best == queue.end()) {
    return std::nullopt;
  }
  const SignalInfo info = *best;
  queue.erase(best);
  return info;
}

}  // namespace

DefaultAction default_action(int signal) {
  switch (signal) {
    case SIGCHLD:
    case SIGCONT:
    case SIGURG:
    case SIGWINCH:
      return DefaultAction::kIgnore;
    case SIGSTOP:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
      return DefaultAction::kStop;
    default:
      return DefaultAction::kTerminate;
  }
}

const char* signal_name(int signal) {
  constexpr std::array<const char*, 32> kNames = {
      "no signal", "SIGHUP",  "SIGINT",    "SIGQUIT", "SIGILL",   "SIGTRAP", "SIGABRT", "SIGBUS",
      "SIGFPE",    "SIGKILL", "SIGUSR1",   "SIGSEGV", "SIGUSR2",  "SIGPIPE", "SIGALRM", "SIGTERM",
      "SIGSTKFLT", "SIGCHLD", "SIGCONT",   "SIGSTOP", "SIGTSTP",  "SIGTTIN", "SIGTTOU", "SIGURG",
      "SIGXCPU",   "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO",   "SIGPWR",  "SIGSYS"};
  return signal >= 0 && signal < kFirstRealTime ? kNames[static_cast<std::size_t>(signal)]
                                                : "SIGRT";
}

void SignalTable::set_action(int signal, const SignalAction& action) {
  actions_[static_cast<std::size_t>(signal - 1)] = action;
  if (is_ignored(signal)) {  // POSIX: what is pending is forgotten.
    std::erase_if(shared_, [&](const SignalInfo& info) { return info.signal == signal; });
  }
}

bool SignalTable::is_ignored(int signal) const {
  const std::uint64_t handler = action(signal).handler;
  return handler == kHandlerIgnore ||
         (handler == kHandlerDefault && default_action(signal) != DefaultAction::kTerminate);
}

bool SignalTable::send(const SignalInfo& info, Thread* thread, const Thread& any_thread) {
  const bool is_blocked = (thread == nullptr ? any_thread : *thread).blocked.has(info.signal);
  if (is_ignored(info.signal) && !is_blocked) {
    return true;
  }
  std::deque<SignalInfo>& queue = thread == nullptr ? shared_ : thread->pending;
  if (info.signal < kFirstRealTime && set_of(queue).has(info.signal)) {
    return true;
  }
  if (queue.size() >= kQueuedMax) {
    return false;
  }
  queue.push_back(info);
  return true;
}

SignalSet SignalTable::pending_for(const Thread& thread) const {
  return SignalSet{set_of(shared_).bits | set_of(thread.pending).bits};
}

bool SignalTable::has_deliverable(const Thread& thread) const {
  SignalSet unmasked{pending_for(thread).bits & ~thread.blocked.bits};
  for (int signal = 1; signal <= kSignalsMax && unmasked.bits != 0; ++signal) {
    if (unmasked.has(signal) && !is_ignored(signal)) {
      return true;
    }
    unmasked.remove(signal);
  }
  return false;
}

std::optional<SignalInfo> SignalTable::take(Thread& thread, SignalSet wanted) {
  if (auto own = take_from(thread.pending, wanted)) {
    return own;
  }
  return take_from(shared_, wanted);
}

}  // namespace stasis::linux_guest
