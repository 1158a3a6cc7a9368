// The signal actions of the process, and the signals sent to it as a whole.
#pragma once

#include <array>
#include <deque>
#include <optional>

#include "guests/linux/kernel/thread.h"
#include "guests/linux/signals/signal_set.h"

namespace stasis::linux_guest {

enum class DefaultAction : std::uint8_t { kTerminate, kIgnore, kStop };
[[nodiscard]] DefaultAction default_action(int signal);  // signal(7)
[[nodiscard]] const char* signal_name(int signal);       // "SIGSEGV"; "SIGRT" for the rest.

// Resource.
class SignalTable {
 public:
  [[nodiscard]] const SignalAction& action(int signal) const {
    return actions_[static_cast<std::size_t>(signal - 1)];
  }
  void set_action(int signal, const SignalAction& action);
  [[nodiscard]] bool is_ignored(int signal) const;

  // To the process or to one thread; forgotten if it is ignored and not blocked. Standard signals
  // do not queue, real-time ones do, up to a limit: false, EAGAIN.
  bool send(const SignalInfo& info, Thread* thread, const Thread& any_thread);
  // The next that may be delivered to the thread now, without taking it.
  [[nodiscard]] bool has_deliverable(const Thread& thread) const;
  [[nodiscard]] std::optional<SignalInfo> take(Thread& thread, SignalSet wanted);
  [[nodiscard]] SignalSet pending_for(const Thread& thread) const;

  [[nodiscard]] std::deque<SignalInfo>& shared() { return shared_; }
  [[nodiscard]] const std::deque<SignalInfo>& shared() const { return shared_; }
  [[nodiscard]] const std::array<SignalAction, kSignalsMax>& actions() const { return actions_; }
  void restore(const std::array<SignalAction, kSignalsMax>& actions,
               std::deque<SignalInfo> shared) {
    actions_ = actions;
    shared_ = std::move(shared);
  }

 private:
  std::array<SignalAction, kSignalsMax> actions_ = {};
  std::deque<SignalInfo> shared_;
};

}  // namespace stasis::linux_guest
