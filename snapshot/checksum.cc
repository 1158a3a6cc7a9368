// The only file that names xxHash.
#include "snapshot/checksum.h"

#include <xxhash.h>

namespace stasis::snapshot {

std::uint64_t chunk_checksum(std::span<const std::byte> raw, Gpa gpa) {
  return XXH3_64bits_withSeed(raw.data(), raw.size(), gpa.value);
}

std::array<std::uint64_t, 2> wide_checksum(std::span<const std::byte> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.low64, hash.high64};
}

}  // namespace stasis::snapshot
