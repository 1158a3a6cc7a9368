// Defines KERNELS, with the vectors that the including file is compiled for. Plain C, for the
// reason in checksum_kernels.h.
#pragma once

#include <cstring>

#define XXH_INLINE_ALL  // Its functions are static here, and use what the compiler may use.
#include <xxhash.h>

#include "snapshot/checksum_kernels.h"

// NOLINTBEGIN(misc-definitions-in-headers): each file that includes this names KERNELS otherwise,
// and the rest has no name outside of it.
namespace stasis::snapshot::internal {
namespace {

// A page at a time, so that the copy finds the bytes in the first-level cache.
constexpr std::size_t kStepBytes = 4096;
constexpr std::size_t kLineBytes = 64;
// Hardware prefetchers stop at page boundaries; these lines of the next page get them going.
constexpr std::size_t kLinesAhead = 8;

std::uint64_t hash64(const void* data, std::size_t bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(data, bytes, seed);
}

void hash128(const void* data, std::size_t bytes, std::uint64_t* low, std::uint64_t* high) {
  const XXH128_hash_t hash = XXH3_128bits(data, bytes);
  *low = hash.low64;
  *high = hash.high64;
}

std::uint64_t copy64(const void* data, std::size_t bytes, std::uint64_t seed, void* out) {
  const char* from = static_cast<const char*>(data);
  char* to = static_cast<char*>(out);
  XXH3_state_t state;
  // Without it the reset compares the seed with what the stack happens to hold, and keeps the
  // secret that it finds there if they are equal (xxhash.h, XXH3_INITSTATE).
  XXH3_INITSTATE(&state);
  XXH3_64bits_reset_withSeed(&state, seed);
  while (bytes != 0) {
    const std::size_t step = bytes < kStepBytes ? bytes : kStepBytes;
    for (std::size_t line = 0; line < kLinesAhead && step + line * kLineBytes < bytes; ++line) {
      __builtin_prefetch(from + step + line * kLineBytes);
    }
    XXH3_64bits_update(&state, from, step);
    std::memcpy(to, from, step);
    from += step;
    to += step;
    bytes -= step;
  }
  return XXH3_64bits_digest(&state);
}

}  // namespace

const ChecksumKernels KERNELS = {hash64, hash128, copy64};

}  // namespace stasis::snapshot::internal
// NOLINTEND(misc-definitions-in-headers)
