// Waking the threads that wait at a futex.
#pragma once

#include <cstdint>

#include "guests/linux/kernel/process.h"

namespace stasis::linux_guest {

constexpr std::uint32_t kFutexAny = 0xffff'ffff;  // FUTEX_BITSET_MATCH_ANY

// The longest waiting first; how many were woken.
int wake_futex(Threads& threads, UserAddress at, int count_max, std::uint32_t mask);

}  // namespace stasis::linux_guest
