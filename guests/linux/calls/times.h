// Between the time structures of the guest and nanoseconds.
#pragma once

#include <sys/time.h>
#include <time.h>

#include <cstdint>
#include <optional>

#include "guests/linux/kernel/call.h"

namespace stasis::linux_guest {

// Nothing if the parts are out of range (negative, or a second too many). Saturating.
[[nodiscard]] std::optional<std::int64_t> ns_of(const timespec& time);
[[nodiscard]] std::optional<std::int64_t> ns_of(const timeval& time);
[[nodiscard]] timespec timespec_of(std::int64_t ns);
[[nodiscard]] timeval timeval_of(std::int64_t ns);

// The deadline that a relative timeout at `timeout` gives; a null pointer: none. EFAULT, EINVAL.
[[nodiscard]] SysOr<std::optional<Deadline>> deadline_after(const Call& call, UserAddress timeout);
// What is left of the deadline, at least 0.
[[nodiscard]] std::int64_t left_ns(const Call& call, const Deadline& deadline);
// CLOCK_* to one of the clocks that there are; EINVAL.
[[nodiscard]] SysOr<ClockKind> clock_kind(int clock_id);

}  // namespace stasis::linux_guest
