// Finds zero pages at the speed of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace stasis::snapshot {

// Whether all bytes are zero. `bytes` must be 8-byte aligned and a multiple of 64 long: pages are.
bool is_zero(std::span<const std::byte> bytes);

// The length in bytes of the run of pages at the beginning of `bytes` (whole pages, not empty) that
// are all zero or all not zero.
struct ZeroRun {
  std::uint64_t bytes = 0;
  bool zero = false;
};
ZeroRun first_run(std::span<const std::byte> bytes, std::uint64_t page_size_bytes);

}  // namespace stasis::snapshot
