// The only file that names xxHash.
#include "snapshot/checksum.h"

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
