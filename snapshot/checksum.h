// XXH3, the checksum of everything stored. It detects accidents, not attackers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/address.h"

namespace stasis::snapshot {

// Of a chunk's raw bytes, seeded with its guest address, so that a chunk in a wrong place does not
// pass for a right one.
std::uint64_t chunk_checksum(std::span<const std::byte> raw, Gpa gpa);

// Where a copy ends up.
enum class CopyTo : std::uint8_t {
  kCache,   // As any copy: for what is read again soon.
  kMemory,  // Past the caches, where the host can: for more than they hold, about a third faster.
};

// Copies `raw` to `out`, which does not overlap it, and returns chunk_checksum(raw, gpa), for
// little more than the copy alone.
std::uint64_t copy_with_checksum(std::span<const std::byte> raw, Gpa gpa, std::byte* out,
                                 CopyTo to = CopyTo::kCache);

// Copies `raw` to `out`, which does not overlap it, as CopyTo::kMemory says.
void copy_to_memory(std::span<const std::byte> raw, std::byte* out);

// XXH3-128, seed 0: low half, high half.
std::array<std::uint64_t, 2> wide_checksum(std::span<const std::byte> bytes);

}  // namespace stasis::snapshot
