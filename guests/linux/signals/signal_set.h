// Signals as values: sets of them, what came with one, what is to be done about one.
#pragma once

#include <cstdint>

#include "guests/linux/address_space.h"

namespace stasis::linux_guest {

constexpr int kSignalsMax = 64;

// Bit n-1 is signal n, as in the kernel's sigset_t. Value.
struct SignalSet {
  std::uint64_t bits = 0;
  [[nodiscard]] constexpr bool has(int signal) const {
    return ((bits >> static_cast<unsigned>(signal - 1)) & 1U) != 0;
  }
  constexpr void add(int signal) { bits |= std::uint64_t{1} << static_cast<unsigned>(signal - 1); }
  constexpr void remove(int signal) {
    bits &= ~(std::uint64_t{1} << static_cast<unsigned>(signal - 1));
  }
  friend constexpr bool operator==(const SignalSet&, const SignalSet&) = default;
};

// The part of siginfo_t that we ever fill in. Value.
struct SignalInfo {
  std::int32_t signal = 0;
  std::int32_t code = 0;
  std::int32_t process = 0;
  std::uint32_t user = 0;
  std::uint64_t value = 0;                   // Of sigqueue.
  std::uint64_t address = 0;                 // Of a fault.
  std::uint64_t vector = 0, error_code = 0;  // Of a fault: for the ucontext.
  bool is_fault = false;
  friend bool operator==(const SignalInfo&, const SignalInfo&) = default;
};

// struct sigaction of the kernel. Value.
struct SignalAction {
  std::uint64_t handler = 0;  // SIG_DFL 0, SIG_IGN 1.
  std::uint64_t flags = 0;
  std::uint64_t restorer = 0;
  std::uint64_t mask = 0;
  friend bool operator==(const SignalAction&, const SignalAction&) = default;
};
static_assert(sizeof(SignalAction) == 32);

constexpr std::uint64_t kHandlerDefault = 0;
constexpr std::uint64_t kHandlerIgnore = 1;

}  // namespace stasis::linux_guest
