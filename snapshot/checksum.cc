// The only file that names xxHash.
#include "snapshot/checksum.h"

#include <algorithm>
#include <cstring>

#define XXH_STATIC_LINKING_ONLY  // A state on the stack; the library's ABI for it is stable since
                                 // 0.8.
#include <xxhash.h>

// xxHash uses the widest vectors of the CPU only through these entry points, which give the same
// results: with AVX2 or AVX-512 twice as fast as with the SSE2 that every x86-64 has.
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#define XXH_DISPATCH_DISABLE_REPLACE
#include <xxh_x86dispatch.h>
#define STASIS_XXH_DISPATCH 1
#else
#define STASIS_XXH_DISPATCH 0
#endif

namespace stasis::snapshot {
namespace {

// The first dispatched call asks for the CPU's features by CPUID, which costs tens of microseconds
// where a hypervisor traps it. What a lazy restore checks, its manifest, is usually smaller.
constexpr std::size_t kDispatchBytesMin = std::size_t{16} << 10U;

// A page at a time, so that the copy finds the bytes in the first-level cache.
constexpr std::size_t kStepBytes = 4096;
constexpr std::size_t kLineBytes = 64;
// Hardware prefetchers stop at page boundaries; these lines of the next page get them going.
constexpr std::size_t kLinesAhead = 8;

void prefetch(std::span<const std::byte> bytes) {
  for (std::size_t line = 0; line < kLinesAhead && line * kLineBytes < bytes.size(); ++line) {
    __builtin_prefetch(bytes.data() + line * kLineBytes);
  }
}

void update(XXH3_state_t& state, std::span<const std::byte> bytes) {
#if STASIS_XXH_DISPATCH
  XXH3_64bits_update_dispatch(&state, bytes.data(), bytes.size());
#else
  XXH3_64bits_update(&state, bytes.data(), bytes.size());
#endif
}

[[maybe_unused]] bool is_large(std::span<const std::byte> bytes) {
  return bytes.size() >= kDispatchBytesMin;
}

}  // namespace

std::uint64_t chunk_checksum(std::span<const std::byte> raw, Gpa gpa) {
#if STASIS_XXH_DISPATCH
  if (is_large(raw)) {
    return XXH3_64bits_withSeed_dispatch(raw.data(), raw.size(), gpa.value);
  }
#endif
  return XXH3_64bits_withSeed(raw.data(), raw.size(), gpa.value);
}

std::uint64_t copy_with_checksum(std::span<const std::byte> raw, Gpa gpa, std::byte* out) {
  if (!is_large(raw)) {
    std::memcpy(out, raw.data(), raw.size());
    return chunk_checksum(raw, gpa);
  }
  XXH3_state_t state;
  // Without it the reset compares the seed with what the stack happens to hold, and keeps the
  // secret that it finds there if they are equal (xxhash.h, XXH3_INITSTATE).
  XXH3_INITSTATE(&state);
  XXH3_64bits_reset_withSeed(&state, gpa.value);
  for (std::size_t at = 0; at < raw.size(); at += kStepBytes) {
    const auto step = raw.subspan(at, std::min(kStepBytes, raw.size() - at));
    prefetch(raw.subspan(at + step.size()));
    update(state, step);
    std::memcpy(out + at, step.data(), step.size());
  }
  return XXH3_64bits_digest(&state);
}

std::array<std::uint64_t, 2> wide_checksum(std::span<const std::byte> bytes) {
#if STASIS_XXH_DISPATCH
  if (is_large(bytes)) {
    const XXH128_hash_t hash = XXH3_128bits_dispatch(bytes.data(), bytes.size());
    return {hash.low64, hash.high64};
  }
#endif
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.low64, hash.high64};
}

}  // namespace stasis::snapshot
