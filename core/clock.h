// Time as a dependency, so that tests own it.
#pragma once

#include <chrono>
#include <cstdint>

namespace stasis {

// Nanoseconds of CLOCK_MONOTONIC_RAW (macOS: mach_absolute_time), the one clock of all milestones.
// The origin is the host's boot; only differences have meaning.
using MonotonicNs = std::int64_t;

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual MonotonicNs now() const noexcept = 0;
  // Nanoseconds since 1970-01-01 UTC: for creation times, never for intervals.
  [[nodiscard]] virtual std::int64_t wall_ns() const noexcept = 0;
};

// The host's clock. Stateless, immutable, shareable.
const Clock& host_clock() noexcept;

}  // namespace stasis
