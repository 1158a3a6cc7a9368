// A thread of the process, and what it waits for.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "guests/linux/cpu.h"
#include "guests/linux/kernel/guest_clock.h"
#include "guests/linux/signals/signal_set.h"

namespace stasis::linux_guest {

// A system call that could not go on. It is made again, with the same arguments, when what it waits
// for may have come; what it must remember meanwhile is here. Value.
struct Wait {
  enum class Until : std::uint8_t {
    kReady,   // Tried again at every chance.
    kWoken,   // A futex: tried again when is_woken, or too late.
    kPassed,  // The deadline, or a signal.
  };
  std::uint64_t number = 0;
  std::array<std::uint64_t, 6> arguments = {};
  Until until = Until::kReady;
  std::optional<Deadline> deadline = {};
  bool restarts = false;  // After a handler with SA_RESTART; else EINTR.
  bool is_woken = false;
  UserAddress futex = {};
  std::uint32_t futex_mask = 0;
  std::uint64_t order = 0;     // Futex waiters are woken first come, first served.
  std::uint64_t progress = 0;  // Bytes that the call has moved already.
  friend bool operator==(const Wait&, const Wait&) = default;
};

struct AlternateStack {
  UserAddress base;
  std::uint64_t size_bytes = 0;
  std::int32_t flags = 2;  // SS_DISABLE
  friend bool operator==(const AlternateStack&, const AlternateStack&) = default;
};

// A system call that a signal has cut short: what its result is depends on the handler.
struct Interrupted {
  std::uint64_t number = 0;
  bool restarts = false;
  friend bool operator==(const Interrupted&, const Interrupted&) = default;
};

// Value. `context` is out of date while the thread's registers are on the vCPU.
struct Thread {
  int id = 0;
  ThreadContext context;
  SignalSet blocked = {};
  std::optional<SignalSet> mask_to_restore = {};  // While a call has put another in its place.
  std::deque<SignalInfo> pending = {};
  AlternateStack alternate_stack = {};
  UserAddress clear_child_tid = {};
  UserAddress robust_list = {};
  std::string name = {};
  std::optional<Wait> wait = {};
  std::optional<Interrupted> interrupted = {};
};

}  // namespace stasis::linux_guest
