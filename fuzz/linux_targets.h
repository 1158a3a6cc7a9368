// What the fuzzers of the Linux guest's kernel execute; as fuzz/targets.h says. The tests run the
// committed corpus through the same functions.
#pragma once

#include <cstddef>
#include <span>

namespace stasis::fuzz {

// Any sequence of system calls, faults and requests, with any arguments: each is answered, and what
// is left can be saved, loaded into a new kernel and saved again to the same bytes.
void linux_syscalls(std::span<const std::byte> input);
// Any bytes as a saved state: refused, or as good as any other.
void linux_state(std::span<const std::byte> input);

}  // namespace stasis::fuzz
