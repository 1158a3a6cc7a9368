// The chunk table: where every chunk lies and what its checksum is; the bytes of `index.capnp`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/result.h"
#include "snapshot/manifest.h"

namespace stasis::snapshot {

// Value; immutable after decode_chunk_table(). chunks[extent.first_chunk + i] is the i-th chunk of
// an extent.
struct ChunkTable {
  std::vector<Chunk> chunks;
  friend bool operator==(const ChunkTable&, const ChunkTable&) = default;
};

// `chunks` in the order of the manifest's extents; their file offsets are not stored but follow
// from the extents and the stored sizes.
std::vector<std::byte> encode_chunk_table(const SnapshotId& id, Codec codec,
                                          std::span<const Chunk> chunks);

// Checks size and checksum against the manifest (kCorruption), then every chunk: all lie inside the
// payload. Safe for any bytes.
Result<ChunkTable> decode_chunk_table(const Manifest& manifest, std::span<const std::byte> file);

}  // namespace stasis::snapshot
