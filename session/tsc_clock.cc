#include "session/tsc_clock.h"

#include <cmath>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace stasis::session {

std::optional<TscAnchor> take_tsc_anchor(const Clock& clock) {
#if defined(__x86_64__)
  // A try that an interrupt or a migration hit is wider than its neighbours; three are enough to
  // find a clean one and cost less than a microsecond.
  constexpr int kTries = 3;
  std::optional<TscAnchor> best;
  MonotonicNs first = clock.now();
  for (int i = 0; i < kTries; ++i) {
    unsigned int cpu = 0;
    // RDTSCP waits for the earlier clock reading (Intel SDM vol. 2B); the second reading follows it
    // in program order and is bounded by the fence that LFENCE is.
    const std::uint64_t tsc = __rdtscp(&cpu);
    _mm_lfence();
    const MonotonicNs second = clock.now();
    const std::int64_t half = (second - first + 1) / 2;
    if (!best || half < best->error_ns) {
      best = TscAnchor{.tsc = tsc, .at = first + (second - first) / 2, .error_ns = half};
    }
    first = second;
  }
  return best;
#else
  static_cast<void>(clock);
  return std::nullopt;
#endif
}

std::optional<TscConversion> convert_tsc(std::uint64_t tsc, const TscAnchor& before,
                                         const TscAnchor& after) {
  if (tsc < before.tsc || tsc > after.tsc || after.tsc == before.tsc || after.at < before.at) {
    return std::nullopt;
  }
  // long double: products of two 64-bit intervals would overflow, and its 64-bit mantissa keeps
  // single nanoseconds over any restore.
  const long double part =
      static_cast<long double>(tsc - before.tsc) / static_cast<long double>(after.tsc - before.tsc);
  const long double ns = part * static_cast<long double>(after.at - before.at);
  const std::int64_t error = before.error_ns > after.error_ns ? before.error_ns : after.error_ns;
  return TscConversion{.at = before.at + std::llroundl(ns), .error_ns = error + 1};
}

std::optional<TscConversion> convert_guest_tsc(std::uint64_t guest_tsc,
                                               const CounterRelation& relation,
                                               const TscAnchor& before, const TscAnchor& after) {
  const std::optional<HostCounter> host = host_counter_at(guest_tsc, relation);
  std::optional<TscConversion> converted =
      host ? convert_tsc(host->value, before, after) : std::nullopt;
  if (!converted) {
    return std::nullopt;
  }
  // A relation that is worse than the whole span says nothing, and would overflow below.
  if (host->error_ticks > after.tsc - before.tsc) {
    return std::nullopt;
  }
  const long double ns_for_a_tick = static_cast<long double>(after.at - before.at) /
                                    static_cast<long double>(after.tsc - before.tsc);
  converted->error_ns += static_cast<std::int64_t>(
      std::ceil(static_cast<long double>(host->error_ticks) * ns_for_a_tick));
  return converted;
}

}  // namespace stasis::session
