#include "core/counter_relation.h"

#include <cmath>

namespace stasis {

CounterRelation relation_of_offset(std::uint64_t offset) {
  return {.guest = offset};  // What the guest reads when the host's counter is 0.
}

std::optional<CounterRelation> relation_of_bracket(std::uint64_t before, std::uint64_t guest,
                                                   std::uint64_t after, std::uint32_t guest_khz,
                                                   std::uint32_t host_khz) {
  if (after < before || guest_khz == 0 || host_khz == 0) {
    return std::nullopt;
  }
  const std::uint64_t width = after - before;
  return CounterRelation{.guest = guest,
                         .host = before + width / 2,
                         .error_ticks = width / 2 + width % 2,
                         .guest_khz = guest_khz,
                         .host_khz = host_khz};
}

std::optional<HostCounter> host_counter_at(std::uint64_t guest, const CounterRelation& relation) {
  const std::uint64_t distance = guest - relation.guest;  // Modulo 2^64, as the counters are.
  if (relation.guest_khz == relation.host_khz) {
    return HostCounter{.value = relation.host + distance, .error_ticks = relation.error_ticks};
  }
  if (relation.guest_khz == 0 || relation.host_khz == 0) {
    return std::nullopt;
  }
  constexpr long double kTicksMax = 4611686018427387904.0L;  // 2^62.
  // Hardware keeps the ratio with at least 32 binary places (AMD; Intel has 48), cut off: for a
  // guest that is at most 16 times slower the rate is off by less than 1 in 2^28.
  constexpr long double kTicksForOneOfError = 268435456.0L;
  const auto signed_distance = static_cast<long double>(static_cast<std::int64_t>(distance));
  const long double ticks = signed_distance * static_cast<long double>(relation.host_khz) /
                            static_cast<long double>(relation.guest_khz);
  if (std::fabs(ticks) > kTicksMax) {
    return std::nullopt;
  }
  const auto rounded = static_cast<std::uint64_t>(std::llroundl(ticks));
  const auto rate_error = static_cast<std::uint64_t>(std::fabs(ticks) / kTicksForOneOfError) + 1;
  return HostCounter{.value = relation.host + rounded,
                     .error_ticks = relation.error_ticks + rate_error};
}

}  // namespace stasis
