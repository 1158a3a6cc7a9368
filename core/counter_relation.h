// Where a guest's time-stamp counter stands against the host's, and the way back. Pure arithmetic.
//
// Hardware virtualization shows a guest the host's counter, scaled if the guest's frequency is
// another, plus an offset, all modulo 2^64 (Intel SDM vol. 3C, "Time-Stamp Counter Offset and
// Multiplier"; AMD APM vol. 2, "TSC Ratio MSR" and the VMCB's TSC_OFFSET). A new VM's counter
// starts near 0 and a restored one's goes on from the saved value, so that the offset is usually
// negative.
#pragma once

#include <cstdint>
#include <optional>

namespace stasis {

// The guest's counter read `guest` when the host's read `host`, and both have gone on since at
// rates of guest_khz to host_khz. Value.
struct CounterRelation {
  std::uint64_t guest = 0;
  std::uint64_t host = 0;
  std::uint64_t error_ticks = 0;  // Of the host's counter: |true - host| is at most this.
  std::uint32_t guest_khz = 1;    // Only the ratio counts; neither is 0.
  std::uint32_t host_khz = 1;
  friend bool operator==(const CounterRelation&, const CounterRelation&) = default;
};

// Of a guest that reads the host's own counter.
inline constexpr CounterRelation kSameCounter{};

// Of a guest whose counter is the host's plus `offset`, modulo 2^64: a negative offset is its two's
// complement. Exact.
CounterRelation relation_of_offset(std::uint64_t offset);

// Of a guest whose counter read `guest` at some moment between the host's `before` and `after`.
// Nothing if these are not in order, or a rate is 0.
std::optional<CounterRelation> relation_of_bracket(std::uint64_t before, std::uint64_t guest,
                                                   std::uint64_t after, std::uint32_t guest_khz,
                                                   std::uint32_t host_khz);

// A reading of the host's counter. Value.
struct HostCounter {
  std::uint64_t value = 0;
  std::uint64_t error_ticks = 0;  // |true - value| is at most this.
};

// What the host's counter read when the guest's read `guest`. Of the two ways around 2^64 the
// shorter is meant. Nothing if a rate is 0, or scaling leaves the range of a counter. `guest` may
// be any number: guests write it.
std::optional<HostCounter> host_counter_at(std::uint64_t guest, const CounterRelation& relation);

}  // namespace stasis
