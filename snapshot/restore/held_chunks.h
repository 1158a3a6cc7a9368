// Chunks that a fill uses piece by piece. Private to snapshot/restore/.
//
// Where a newer snapshot of a chain covers single pages of a chunk, what is left of it is filled in
// several pieces, between pieces of the newer one. Each of them can only be checked, or only be
// decompressed, as the whole chunk: done once for all pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <vector>

namespace stasis::snapshot::internal {

struct PayloadSource;

// Value.
struct HeldChunk {
  const PayloadSource* source = nullptr;
  std::uint64_t index = 0;  // In the index of that source's snapshot.
  std::vector<std::byte> bytes;
};

// The chunks that were used last, at most 2 MiB of them, or a single one that is larger than half
// of that. One thread.
class HeldChunks {
 public:
  // Null if it is not held. Valid until the next make() or forget().
  const HeldChunk* find(const PayloadSource& source, std::uint64_t index);

  // Room for `size_bytes`, to be filled by the caller; what was used longest ago gives way.
  HeldChunk& make(const PayloadSource& source, std::uint64_t index, std::uint64_t size_bytes);

  // For a chunk from make() that could not be filled.
  void forget(const HeldChunk& chunk);

 private:
  std::list<HeldChunk> chunks_;  // The one that was used last in front.
  std::uint64_t bytes_ = 0;      // Of all of them.
};

}  // namespace stasis::snapshot::internal
