// Reads everything of a snapshot and of its ancestors, and says what is not as it was written.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/mutex.h"
#include "core/text.h"
#include "snapshot/operations.h"
#include "snapshot/operations/parallel.h"

namespace stasis::snapshot {
namespace {

// A stored piece of guest memory that is checked in one go. Value.
struct Piece {
  const Extent* extent = nullptr;
  GpaRange range;
};

constexpr std::uint64_t kPieceBytes = std::uint64_t{4} << 20U;  // A multiple of every chunk size.

std::vector<Piece> pieces_of(const Manifest& manifest) {
  std::vector<Piece> pieces;
  for (const Extent& extent : manifest.extents) {
    if (!is_stored(extent.kind)) {
      continue;
    }
    const std::uint64_t count = chunk_count_of(extent.range, kPieceBytes);
    for (std::uint64_t i = 0; i < count; ++i) {
      pieces.push_back({&extent, chunk_range_of(extent.range, i, kPieceBytes)});
    }
  }
  return pieces;
}

// Checks all stored chunks of one snapshot of the chain. Thread-safe after construction.
class SnapshotCheck {
 public:
  SnapshotCheck(const SnapshotReader& reader, const ChunkTable& table, std::uint32_t threads)
      : reader_(reader), table_(table), workspaces_(std::max(threads, 1U)) {}

  Result<void> check(std::size_t thread, const Piece& piece) {
    Workspace& workspace = workspaces_[thread];
    workspace.bytes.resize(piece.range.size);
    Result<void> all = read(piece, piece.range, workspace);
    if (all) {
      return {};
    }
    if (all.error().code != Errc::kCorruption && all.error().code != Errc::kIo) {
      return all;
    }
    // Something in this piece is damaged: find each chunk that is.
    const std::uint64_t chunk_bytes = reader_.manifest().chunk_bytes;
    const std::uint64_t count = chunk_count_of(piece.range, chunk_bytes);
    for (std::uint64_t i = 0; i < count; ++i) {
      const GpaRange range = chunk_range_of(piece.range, i, chunk_bytes);
      if (const Result<void> one = read(piece, range, workspace); !one) {
        add(*piece.extent, range, one.error());
      }
    }
    return {};
  }

  std::vector<Finding> take_findings() {
    const MutexLock lock(mutex_);
    std::sort(findings_.begin(), findings_.end(),
              [](const Finding& a, const Finding& b) { return a.range->begin < b.range->begin; });
    return std::move(findings_);
  }

 private:
  struct Workspace {
    std::vector<std::byte> bytes;
    ReadScratch scratch;
  };

  Result<void> read(const Piece& piece, GpaRange range, Workspace& workspace) const {
    return reader_.read_stored(table_, *piece.extent, range,
                               std::span(workspace.bytes).first(range.size), CheckChunks::kYes,
                               workspace.scratch);
  }

  void add(const Extent& extent, GpaRange range, const Error& error) {
    const std::uint64_t chunk_bytes = reader_.manifest().chunk_bytes;
    const std::uint64_t index =
        (range.begin.value / chunk_bytes) - (extent.range.begin.value / chunk_bytes);
    Finding finding;
    finding.file = reader_.payload().path();
    finding.offset = table_.chunks[extent.first_chunk + index].file_offset;
    finding.range = range;
    finding.cause = error.message;
    const MutexLock lock(mutex_);
    if (findings_.size() < kFindingsMax) {
      findings_.push_back(std::move(finding));
    }
  }

  const SnapshotReader& reader_;
  const ChunkTable& table_;
  std::vector<Workspace> workspaces_;  // One a thread.
  Mutex mutex_;
  std::vector<Finding> findings_ STASIS_GUARDED_BY(mutex_);
};

// Adds what one snapshot's check finds to `report`. `before` and `total` are bytes of the whole
// operation, for progress.
Result<void> verify_one(const SnapshotReader& reader, std::uint32_t threads, std::uint64_t before,
                        std::uint64_t total, const Supervision& supervision, VerifyReport& report) {
  ++report.snapshots;
  const Result<ChunkTable> table = reader.read_index();
  if (!table) {
    report.findings.push_back(
        {join_path(reader.path(), kIndexFile), std::nullopt, std::nullopt, table.error().message});
    return {};
  }
  const std::vector<Piece> pieces = pieces_of(reader.manifest());
  SnapshotCheck check(reader, *table, threads);
  Supervision shifted = supervision;
  if (supervision.progress) {
    shifted.progress = [&supervision, before, total](std::uint64_t done, std::uint64_t) {
      supervision.progress(before + done, total);
    };
  }
  STASIS_TRY(internal::for_each_piece(
      pieces.size(), threads, total, shifted,
      [&pieces](std::size_t i) { return pieces[i].range.size; },
      [&check, &pieces](std::size_t thread, std::size_t i) {
        return check.check(thread, pieces[i]);
      }));
  for (const Piece& piece : pieces) {
    report.checked_bytes += piece.range.size;
  }
  report.checked_chunks += table->chunks.size();
  for (Finding& finding : check.take_findings()) {
    report.findings.push_back(std::move(finding));
  }
  return {};
}

std::uint64_t stored_bytes_of(const Manifest& manifest) {
  std::uint64_t bytes = 0;
  for (const Extent& extent : manifest.extents) {
    bytes += is_stored(extent.kind) ? extent.range.size : 0;
  }
  return bytes;
}

// Where the chain cannot be opened: what can be said about the snapshot alone.
Result<VerifyReport> verify_broken(FileSystem& file_system, const std::string& path,
                                   std::uint32_t threads, const Supervision& supervision,
                                   const Error& chain_error) {
  VerifyReport report;
  report.findings.push_back({path, std::nullopt, std::nullopt, chain_error.message});
  const auto leaf = SnapshotReader::open(file_system, path);
  if (leaf) {
    STASIS_TRY(
        verify_one(**leaf, threads, 0, stored_bytes_of((*leaf)->manifest()), supervision, report));
  }
  return report;
}

}  // namespace

std::string to_string(const Finding& finding) {
  std::string text = "'" + finding.file + "'";
  if (finding.offset) {
    text += " at offset " + std::to_string(*finding.offset);
  }
  if (finding.range) {
    text += ", guest memory " + describe(*finding.range);
  }
  return text + ": " + finding.cause;
}

Result<VerifyReport> verify(FileSystem& file_system, const std::string& path, std::uint32_t threads,
                            const Supervision& supervision) {
  STASIS_ASSIGN(const auto status, file_system.status(join_path(path, kManifestFile)));
  if (!status) {
    return Error{
        Errc::kNotFound, 0,
        "no snapshot at '" + path + "': it has no file '" + std::string(kManifestFile) + "'"};
  }
  const auto chain = SnapshotChain::open(file_system, path);
  if (!chain) {
    return verify_broken(file_system, path, threads, supervision, chain.error());
  }
  std::uint64_t total = 0;
  for (std::size_t depth = 0; depth < (*chain)->depth(); ++depth) {
    total += stored_bytes_of((*chain)->at(depth).manifest());
  }
  VerifyReport report;
  std::uint64_t before = 0;
  for (std::size_t depth = 0; depth < (*chain)->depth(); ++depth) {
    const SnapshotReader& reader = (*chain)->at(depth);
    STASIS_TRY(verify_one(reader, threads, before, total, supervision, report));
    before += stored_bytes_of(reader.manifest());
  }
  return report;
}

}  // namespace stasis::snapshot
