// A snapshot with all its ancestors, and where each guest page of it really lies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/address.h"
#include "core/result.h"
#include "snapshot/snapshot_reader.h"

namespace stasis::snapshot {

inline constexpr std::size_t kChainDepthMax = 1024;

// Immutable, thread-safe. Element 0 is the snapshot itself, element i + 1 the parent of element i;
// the last one is full.
class SnapshotChain {
 public:
  // Looks for each parent at the path its child remembers (relative to the child), then among the
  // child's sibling directories, by id. Errors: those of SnapshotReader::open(); kNotFound says
  // where a parent was looked for; kMismatch (a wrong parent: names both ids; other regions, page
  // size or architecture than its child); kCorruption (a cycle, more than kChainDepthMax links).
  static Result<std::unique_ptr<SnapshotChain>> open(FileSystem& file_system,
                                                     const std::string& path);

  // The same snapshots, for whoever needs them after this chain is gone.
  [[nodiscard]] std::unique_ptr<SnapshotChain> share() const;

  [[nodiscard]] std::size_t depth() const noexcept { return readers_.size(); }
  [[nodiscard]] const SnapshotReader& at(std::size_t depth) const { return *readers_.at(depth); }
  [[nodiscard]] const SnapshotReader& leaf() const { return *readers_.front(); }
  [[nodiscard]] const Manifest& manifest() const { return leaf().manifest(); }

 private:
  using Readers = std::vector<std::shared_ptr<const SnapshotReader>>;
  explicit SnapshotChain(Readers readers);
  Readers readers_;
};

// A run of pages and where its bytes lie: in the snapshot `depth` of the chain.
struct ResolvedExtent {
  GpaRange range;                       // Whole pages, inside one region.
  ExtentKind kind = ExtentKind::kZero;  // Never kInherited.
  std::uint32_t depth = 0;              // 0 for kZero, which needs no file.
  std::uint32_t extent_index = 0;       // In at(depth).manifest().extents; contains `range`.
  std::uint64_t file_offset = 0;        // kRaw: of range.begin in at(depth).payload().
  std::uint32_t first_chunk = 0;        // Stored kinds: the chunks that `range` touches, in
  std::uint32_t chunk_count = 0;        // at(depth)'s table; first and last may reach outside.
  friend bool operator==(const ResolvedExtent&, const ResolvedExtent&) = default;
};

// In address order; covers every byte of every region exactly once; neighbours that continue each
// other are one. Linear in the number of extents of the whole chain. Pure.
std::vector<ResolvedExtent> resolve(const SnapshotChain& chain);

// A chain with all its chunk tables, ready to read any guest address. Immutable, thread-safe.
class ChainContents {
 public:
  // Reads every index. `chain` is borrowed.
  static Result<ChainContents> open(const SnapshotChain& chain);

  [[nodiscard]] const SnapshotChain& chain() const noexcept { return *chain_; }
  [[nodiscard]] std::span<const ResolvedExtent> extents() const noexcept { return extents_; }
  [[nodiscard]] const ChunkTable& table(std::size_t depth) const { return tables_.at(depth); }

  // The guest bytes of `range`, which lies inside one region (else kOutOfRange).
  Result<void> read(GpaRange range, std::span<std::byte> out, CheckChunks check,
                    ReadScratch& scratch) const;

 private:
  ChainContents(const SnapshotChain& chain, std::vector<ChunkTable> tables);
  const SnapshotChain* chain_;
  std::vector<ChunkTable> tables_;
  std::vector<ResolvedExtent> extents_;
};

}  // namespace stasis::snapshot
