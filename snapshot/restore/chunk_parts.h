// Which chunks of which payload a fill needs, and where they lie. Private to snapshot/restore/.
#pragma once

#include <cstdint>
#include <vector>

#include "core/address.h"
#include "core/result.h"
#include "snapshot/manifest.h"
#include "snapshot/restore/fill_schedule.h"
#include "snapshot/restore/filler.h"

namespace stasis::snapshot::internal {

// One chunk of an extent, as far as a job needs it. Value.
struct ChunkPart {
  std::uint64_t index = 0;  // In its snapshot's index.
  Chunk chunk;
  GpaRange whole;   // The guest memory that the chunk holds.
  GpaRange wanted;  // The part of it to be filled.
  [[nodiscard]] bool is_stored_raw() const { return chunk.stored_bytes == whole.size; }
};

// A job and the chunks that it needs. Value; borrows the source.
struct JobParts {
  const PayloadSource* source = nullptr;
  std::vector<ChunkPart> parts;
};

// `source` is that of the job's depth. The chunk table comes from a file: its indices are checked
// here (kCorruption), its offsets by check_inside().
Result<std::vector<ChunkPart>> parts_of(const FillJob& job, const PayloadSource& source,
                                        Verify verify);

// kCorruption if the payload has no such bytes: names file, guest memory and offsets.
Result<void> check_inside(const ChunkPart& part, const ReadableFile& file);

// The part of a payload file that holds some chunks. Value.
struct Stretch {
  std::uint64_t begin = UINT64_MAX;
  std::uint64_t end = 0;
  std::uint64_t used_bytes = 0;  // A chunk that is used in pieces counts once.
  std::uint64_t last_index = UINT64_MAX;

  void add(const ChunkPart& part);
  [[nodiscard]] std::uint64_t size() const { return end - begin; }
  // Whether mapping it beats reading its chunks singly.
  [[nodiscard]] bool is_worth_mapping() const;
};

}  // namespace stasis::snapshot::internal
