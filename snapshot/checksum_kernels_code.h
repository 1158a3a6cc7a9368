// Defines KERNELS, with the vectors that the including file is compiled for. Plain C, for the
// reason in checksum_kernels.h.
#pragma once

#include <cstring>

#define XXH_INLINE_ALL  // Its functions are static here, and use what the compiler may use.
#include <xxhash.h>

#include "snapshot/checksum_kernels.h"
#include "snapshot/streaming_copy.h"

// NOLINTBEGIN(misc-definitions-in-headers): each file that includes this names KERNELS otherwise,
// and the rest has no name outside of it.
namespace stasis::snapshot::internal {
namespace {

// So few at a time that the copy finds the bytes in the first-level cache.
constexpr std::size_t kStepBytes = 2048;
// Hardware prefetchers stop at page boundaries; these lines of the next step get them going.
constexpr std::size_t kLinesAhead = 8;
// Without a checksum to compute, the next step is asked for as a whole.
constexpr std::size_t kLinesAheadOfCopy = kStepBytes / kLineBytes;

// Of what follows `step` bytes in a total of `bytes`.
inline void prefetch_next(const char* from, std::size_t step, std::size_t bytes,
                          std::size_t lines) {
  for (std::size_t line = 0; line < lines && step + line * kLineBytes < bytes; ++line) {
    __builtin_prefetch(from + step + line * kLineBytes);
  }
}

inline std::size_t next_step(std::size_t bytes) {
  return bytes < kStepBytes ? bytes : kStepBytes;
}

std::uint64_t hash64(const void* data, std::size_t bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(data, bytes, seed);
}

void hash128(const void* data, std::size_t bytes, std::uint64_t* low, std::uint64_t* high) {
  const XXH128_hash_t hash = XXH3_128bits(data, bytes);
  *low = hash.low64;
  *high = hash.high64;
}

template <typename Copy>
std::uint64_t copy_hashed(const char* from, std::size_t bytes, std::uint64_t seed, char* to,
                          Copy copy) {
  XXH3_state_t state;
  // Without it the reset compares the seed with what the stack happens to hold, and keeps the
  // secret that it finds there if they are equal (xxhash.h, XXH3_INITSTATE).
  XXH3_INITSTATE(&state);
  XXH3_64bits_reset_withSeed(&state, seed);
  while (bytes != 0) {
    const std::size_t step = next_step(bytes);
    prefetch_next(from, step, bytes, kLinesAhead);
    XXH3_64bits_update(&state, from, step);
    copy(to, from, step);
    from += step;
    to += step;
    bytes -= step;
  }
  return XXH3_64bits_digest(&state);
}

std::uint64_t copy64(const void* data, std::size_t bytes, std::uint64_t seed, void* out) {
  return copy_hashed(
      static_cast<const char*>(data), bytes, seed, static_cast<char*>(out),
      [](char* to, const char* from, std::size_t step) { std::memcpy(to, from, step); });
}

std::uint64_t stream64(const void* data, std::size_t bytes, std::uint64_t seed, void* out) {
  if (!can_stream(out, bytes)) {
    return copy64(data, bytes, seed, out);
  }
  const std::uint64_t hash =
      copy_hashed(static_cast<const char*>(data), bytes, seed, static_cast<char*>(out), stream);
  end_stream();
  return hash;
}

void stream_only(const void* data, std::size_t bytes, void* out) {
  const char* from = static_cast<const char*>(data);
  char* to = static_cast<char*>(out);
  if (!can_stream(to, bytes)) {
    std::memcpy(to, from, bytes);
    return;
  }
  while (bytes != 0) {
    const std::size_t step = next_step(bytes);
    prefetch_next(from, step, bytes, kLinesAheadOfCopy);
    stream(to, from, step);
    from += step;
    to += step;
    bytes -= step;
  }
  end_stream();
}

}  // namespace

const ChecksumKernels KERNELS = {hash64, hash128, copy64, stream64, stream_only};

}  // namespace stasis::snapshot::internal
// NOLINTEND(misc-definitions-in-headers)
