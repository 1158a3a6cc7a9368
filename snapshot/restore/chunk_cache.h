// Bytes of a snapshot's chain by guest address, for whoever needs few of them at a time. Private to
// snapshot/restore/ and snapshot/reset/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/result.h"
#include "snapshot/chunk_table.h"
#include "snapshot/restore/plan.h"
#include "snapshot/snapshot_chain.h"

namespace stasis::snapshot::internal {

// A chain and what of it a plan of missing pages needs. Immutable, thread-safe.
class StoredPages {
 public:
  // Reads the chunk tables that `sources` and `verify` make necessary. Shares `chain`.
  static Result<StoredPages> open(const SnapshotChain& chain, std::span<const SourceExtent> sources,
                                  Verify verify);

  // `range` is inside `source.range`, and `source` is of a stored kind; `out` is as long.
  // `payload`: another way to the same file; null: the chain's. Errors name file, offset and guest
  // address.
  Result<void> read(const SourceExtent& source, GpaRange range, std::span<std::byte> out,
                    const ReadableFile* payload, ReadScratch& scratch) const;

  // The part of `range` (inside source.range) that lies in the chunk of its first byte: what can be
  // had by reading that chunk alone.
  [[nodiscard]] GpaRange in_one_chunk(const SourceExtent& source, GpaRange range) const;
  // All of that chunk that `source.range` has.
  [[nodiscard]] GpaRange whole_chunk(const SourceExtent& source, Gpa gpa) const;

  // Whether less than a chunk can be read: raw bytes that are not checked.
  [[nodiscard]] bool reads_parts(const SourceExtent& source) const;
  [[nodiscard]] const SnapshotReader& reader(std::uint32_t depth) const {
    return chain_->at(depth);
  }
  [[nodiscard]] const ChunkTable& table(std::uint32_t depth) const { return tables_.at(depth); }

 private:
  StoredPages(std::unique_ptr<SnapshotChain> chain, std::vector<ChunkTable> tables, Verify verify);
  std::unique_ptr<const SnapshotChain> chain_;
  std::vector<ChunkTable> tables_;  // By depth; empty where none is needed.
  Verify verify_;
};

// The chunks that one thread read last, decompressed and checked: a guest that touches a page soon
// touches its neighbours. One thread.
class ChunkCache {
 public:
  explicit ChunkCache(const StoredPages& pages) : pages_(pages) {}

  // The bytes of `range`, which is inside source.range and in_one_chunk(). Valid until the next
  // call. Errors as StoredPages::read().
  Result<std::span<const std::byte>> bytes(const SourceExtent& source, GpaRange range);

 private:
  struct Entry {
    std::uint32_t depth = 0;
    GpaRange range;
    std::vector<std::byte> bytes;
  };
  Result<const Entry*> load(const SourceExtent& source, GpaRange range);

  const StoredPages& pages_;
  std::vector<Entry> entries_;
  std::size_t next_ = 0;  // To be replaced.
  ReadScratch scratch_;
};

}  // namespace stasis::snapshot::internal
