// How a long operation tells how far it is, and how it is told to stop.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "core/result.h"

namespace stasis::snapshot {

// Value. Borrowed by an operation until it returns.
struct Supervision {
  // Called now and then with bytes done and in total, never by two threads at once, but not always
  // by the caller's thread. `done` never falls; the last call of a success has done == total.
  std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)> progress = {};
  // When this becomes true the operation stops soon and fails with kIo, "cancelled". May be null.
  const std::atomic<bool>* cancel = nullptr;

  // Relaxed: the flag carries no data, only the wish to stop.
  [[nodiscard]] bool cancelled() const {
    return cancel != nullptr && cancel->load(std::memory_order_relaxed);
  }
};

inline Error cancelled_error() {
  return Error{Errc::kIo, 0, "cancelled"};
}

}  // namespace stasis::snapshot
