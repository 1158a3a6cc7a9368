// Converts a time-stamp counter value that a guest read into the clock of the milestones.
//
// Method: the counter and the host's clock are read together twice, before the restore begins and
// after the guest has answered. Both advance at a constant rate (invariant TSC; CLOCK_MONOTONIC_RAW
// is never slewed), so a guest's reading between the two anchors is found by linear interpolation.
// Each anchor is uncertain by the time between the two clock readings that enclose its counter
// reading; interpolation cannot be worse than the worse anchor. That bound is reported, not
// assumed.
//
// A guest whose counter is not the host's has its reading turned into the host's first, by the
// relation of the two (core/counter_relation.h).
#pragma once

#include <cstdint>
#include <optional>

#include "core/clock.h"
#include "core/counter_relation.h"

namespace stasis::session {

// The counter and the clock at (nearly) one moment. Value.
struct TscAnchor {
  std::uint64_t tsc = 0;
  MonotonicNs at = 0;         // Middle of the two clock readings around the counter's.
  std::int64_t error_ns = 0;  // Half the distance of those readings.
};

// Nothing on hosts without a time-stamp counter that a guest could share. Takes a few hundred
// nanoseconds: the tightest of several tries.
std::optional<TscAnchor> take_tsc_anchor(const Clock& clock = host_clock());

// Value.
struct TscConversion {
  MonotonicNs at = 0;
  std::int64_t error_ns = 0;  // |true - at| is at most this.
};

// Nothing if `tsc` does not lie between the anchors (then the counter is not the host's, or it was
// not read in between) or the anchors are not in order.
std::optional<TscConversion> convert_tsc(std::uint64_t tsc, const TscAnchor& before,
                                         const TscAnchor& after);

// The same for a reading of a guest's counter. The relation's own error is in the result's.
std::optional<TscConversion> convert_guest_tsc(std::uint64_t guest_tsc,
                                               const CounterRelation& relation,
                                               const TscAnchor& before, const TscAnchor& after);

}  // namespace stasis::session
