// One snapshot on disk, open for reading.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "snapshot/chunk_table.h"
#include "snapshot/file_system.h"
#include "snapshot/manifest.h"
#include "snapshot/manifest_codec.h"

namespace stasis::snapshot {

// Working memory of read_stored(), to be reused from call to call by one thread.
struct ReadScratch {
  std::vector<std::byte> stored, raw;
};

enum class CheckChunks : std::uint8_t { kNo, kYes };

// Immutable after open(), thread-safe. Opening reads the manifest only, so it costs the same for
// every guest size.
class SnapshotReader {
 public:
  // kNotFound (no such directory, or no manifest in it), kNotSupported (a future version; the
  // message says by whom it was written), kCorruption (a damaged manifest; a missing file, or one
  // of the wrong size), kIo. Every message names the file.
  static Result<std::unique_ptr<SnapshotReader>> open(FileSystem& file_system,
                                                      const std::string& path);

  [[nodiscard]] const Manifest& manifest() const noexcept { return manifest_; }
  [[nodiscard]] const ContentRoot& root() const noexcept { return root_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }  // As given to open().
  // Its size was checked against the manifest.
  [[nodiscard]] const ReadableFile& payload() const noexcept { return *payload_; }
  [[nodiscard]] std::uint64_t manifest_file_bytes() const noexcept { return manifest_file_bytes_; }

  // Reads and checks the chunk table: once for each caller that needs it, it is not kept.
  [[nodiscard]] Result<ChunkTable> read_index() const;

  // The guest bytes of `range`, which must lie inside `extent` (an element of manifest().extents
  // with is_stored()); out.size() == range.size. kYes checks every chunk that `range` touches
  // before its bytes are returned; then, and for kLz4, `table` must be read_index()'s. Whole raw
  // chunks are read directly into `out`, many with one call.
  // kCorruption names the file, its offset and the guest address. `payload`: another way to the
  // same file; null: payload().
  Result<void> read_stored(const ChunkTable& table, const Extent& extent, GpaRange range,
                           std::span<std::byte> out, CheckChunks check, ReadScratch& scratch,
                           const ReadableFile* payload = nullptr) const;

 private:
  SnapshotReader(std::string path, Manifest manifest, ContentRoot root,
                 std::unique_ptr<ReadableFile> payload, std::uint64_t manifest_file_bytes,
                 std::unique_ptr<ReadableFile> index);

  // Constant after construction.
  std::string path_;
  Manifest manifest_;
  ContentRoot root_;
  std::unique_ptr<ReadableFile> payload_;
  std::uint64_t manifest_file_bytes_;
  std::unique_ptr<ReadableFile> index_;
};

// Header only, of any format version: for listings and for messages.
Result<SnapshotHeader> read_header(FileSystem& file_system, const std::string& path);

}  // namespace stasis::snapshot
