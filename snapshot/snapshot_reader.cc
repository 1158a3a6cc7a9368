#include "snapshot/snapshot_reader.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "core/text.h"
#include "snapshot/checksum.h"
#include "snapshot/manifest_codec.h"
#include "snapshot/page_codec.h"
#include "snapshot/payload_mark.h"

namespace stasis::snapshot {
namespace {

// At most this much is read at once into scratch memory.
constexpr std::uint64_t kBatchBytes = std::uint64_t{4} << 20U;

std::string in_file(const ReadableFile& file) {
  return "'" + file.path() + "'";
}

// `limit_bytes` before memory is taken: the size is what the file system says, not what is wanted.
Result<std::vector<std::byte>> read_whole(const ReadableFile& file, std::uint64_t limit_bytes) {
  if (file.size_bytes() > limit_bytes) {
    return Error{Errc::kCorruption, 0,
                 in_file(file) + ": " + std::to_string(file.size_bytes()) +
                     " bytes, more than the " + std::to_string(limit_bytes) + " allowed"};
  }
  std::vector<std::byte> bytes(file.size_bytes());
  STASIS_TRY(file.read_at(0, bytes));
  return bytes;
}

Result<std::unique_ptr<ReadableFile>> open_manifest(FileSystem& file_system,
                                                    const std::string& path) {
  auto file = file_system.open_file(join_path(path, kManifestFile));
  if (!file && file.error().code == Errc::kNotFound) {
    return Error{
        Errc::kNotFound, file.error().os_error,
        "no snapshot at '" + path + "': it has no file '" + std::string(kManifestFile) + "'"};
  }
  return file;
}

// A file that the manifest says exists, with this size.
Result<std::unique_ptr<ReadableFile>> open_part(FileSystem& file_system, const std::string& path,
                                                std::uint64_t size_bytes) {
  auto file = file_system.open_file(path);
  if (!file) {
    Error error = std::move(file).error();
    if (error.code == Errc::kNotFound) {
      error.code = Errc::kCorruption;
      error.message =
          "'" + path + "' is missing: the snapshot is incomplete, restore it from a copy";
    }
    return error;
  }
  if ((*file)->size_bytes() != size_bytes) {
    return Error{Errc::kCorruption, 0,
                 "'" + path + "': " + std::to_string((*file)->size_bytes()) +
                     " bytes instead of the " + std::to_string(size_bytes) +
                     " that the manifest states"};
  }
  return file;
}

Result<std::unique_ptr<ReadableFile>> open_payload(FileSystem& file_system, const std::string& path,
                                                   const Manifest& manifest) {
  STASIS_ASSIGN(auto file,
                open_part(file_system, path, manifest.payload_bytes + manifest.payload_mark_bytes));
  if (manifest.payload_mark_bytes != 0) {
    internal::PayloadMark mark;
    STASIS_TRY(file->read_at(manifest.payload_bytes, mark));
    if (auto mine = internal::check_payload_mark(mark, manifest.id, manifest.payload_bytes);
        !mine) {
      return std::move(mine).error().with_context(in_file(*file));
    }
  }
  return file;
}

// A run of chunks of one extent, `first` .. `first + count`, the table's entries for them.
struct ChunkRun {
  const Extent& extent;
  std::uint64_t chunk_bytes;
  std::uint64_t first;
  std::span<const Chunk> chunks;

  [[nodiscard]] GpaRange range(std::size_t i) const {
    return chunk_range_of(extent.range, first + i, chunk_bytes);
  }
};

Error chunk_error(const ReadableFile& file, const Chunk& chunk, GpaRange range,
                  std::string_view cause) {
  return Error{Errc::kCorruption, 0,
               in_file(file) + " at offset " + std::to_string(chunk.file_offset) +
                   ", guest memory " + describe(range) + ": " + std::string(cause)};
}

// One chunk's raw bytes from its stored ones, into `out` (its raw length); checked if asked.
Result<void> unpack(const ReadableFile& file, const Chunk& chunk, GpaRange range,
                    std::span<const std::byte> stored, std::span<std::byte> out,
                    CheckChunks check) {
  if (stored.size() == out.size()) {
    if (stored.data() != out.data()) {
      std::memcpy(out.data(), stored.data(), out.size());
    }
  } else if (auto done = decompress_chunk(stored, out); !done) {
    return chunk_error(file, chunk, range, done.error().message);
  }
  if (check == CheckChunks::kYes && chunk_checksum(out, range.begin) != chunk.checksum) {
    return chunk_error(file, chunk, range, "checksum does not match");
  }
  return {};
}

// The bytes of `wanted` out of a run of chunks that covers it, with one read of the file.
Result<void> read_run(const ReadableFile& file, const ChunkRun& run, GpaRange wanted,
                      std::span<std::byte> out, CheckChunks check, ReadScratch& scratch) {
  const Chunk& last = run.chunks.back();
  const std::uint64_t begin = run.chunks.front().file_offset;
  scratch.stored.resize(last.file_offset + last.stored_bytes - begin);
  STASIS_TRY(file.read_at(begin, scratch.stored));
  for (std::size_t i = 0; i < run.chunks.size(); ++i) {
    const Chunk& chunk = run.chunks[i];
    const GpaRange range = run.range(i);
    const auto stored =
        std::span(scratch.stored).subspan(chunk.file_offset - begin, chunk.stored_bytes);
    const std::uint64_t from = std::max(range.begin.value, wanted.begin.value);
    const std::uint64_t to = std::min(range.end().value, wanted.end().value);
    const auto target = out.subspan(from - wanted.begin.value, to - from);
    if (target.size() == range.size) {
      STASIS_TRY(unpack(file, chunk, range, stored, target, check));
      continue;
    }
    scratch.raw.resize(range.size);
    STASIS_TRY(unpack(file, chunk, range, stored, scratch.raw, check));
    std::memcpy(target.data(), scratch.raw.data() + (from - range.begin.value), target.size());
  }
  return {};
}

}  // namespace

SnapshotReader::SnapshotReader(std::string path, Manifest manifest, ContentRoot root,
                               std::unique_ptr<ReadableFile> payload,
                               std::uint64_t manifest_file_bytes,
                               std::unique_ptr<ReadableFile> index)
    : path_(std::move(path)),
      manifest_(std::move(manifest)),
      root_(root),
      payload_(std::move(payload)),
      manifest_file_bytes_(manifest_file_bytes),
      index_(std::move(index)) {}

Result<std::unique_ptr<SnapshotReader>> SnapshotReader::open(FileSystem& file_system,
                                                             const std::string& path) {
  STASIS_ASSIGN(const auto file, open_manifest(file_system, path));
  STASIS_ASSIGN(const auto bytes, read_whole(*file, kManifestBytesMax));
  auto decoded = decode_manifest(bytes);
  if (!decoded) {
    return std::move(decoded).error().with_context(in_file(*file));
  }
  Manifest& manifest = decoded->manifest;
  STASIS_ASSIGN(auto payload, open_payload(file_system, join_path(path, kPayloadFile), manifest));
  STASIS_ASSIGN(auto index,
                open_part(file_system, join_path(path, kIndexFile), manifest.index_bytes));
  return std::unique_ptr<SnapshotReader>(new SnapshotReader(path, std::move(manifest),
                                                            decoded->root, std::move(payload),
                                                            bytes.size(), std::move(index)));
}

Result<ChunkTable> SnapshotReader::read_index() const {
  // A few words besides 8 bytes for a checksum and 4 for a size of each chunk.
  const std::uint64_t limit = 4096 + (std::uint64_t{manifest_.chunk_count} * 12);
  STASIS_ASSIGN(const auto bytes, read_whole(*index_, limit));
  auto table = decode_chunk_table(manifest_, bytes);
  if (!table) {
    return std::move(table).error().with_context(in_file(*index_));
  }
  return table;
}

Result<void> SnapshotReader::read_stored(const ChunkTable& table, const Extent& extent,
                                         GpaRange range, std::span<std::byte> out,
                                         CheckChunks check, ReadScratch& scratch,
                                         const ReadableFile* payload) const {
  const ReadableFile& file = payload == nullptr ? *payload_ : *payload;
  STASIS_CHECK(is_stored(extent.kind) && range.size == out.size() && range.size != 0 &&
               range.begin >= extent.range.begin &&
               fits(range.begin.value - extent.range.begin.value, range.size, extent.range.size));
  if (extent.kind == ExtentKind::kRaw && check == CheckChunks::kNo) {
    return file.read_at(extent.file_offset + (range.begin.value - extent.range.begin.value), out);
  }
  const std::uint64_t size = manifest_.chunk_bytes;
  const auto chunks = std::span(table.chunks).subspan(extent.first_chunk);
  std::uint64_t index = (range.begin.value / size) - (extent.range.begin.value / size);
  const std::uint64_t end = index + chunk_count_of(range, size);
  while (index < end) {
    const std::uint64_t count =
        std::min(end - index, std::max<std::uint64_t>(kBatchBytes / size, 1));
    const ChunkRun run{extent, size, index, chunks.subspan(index, count)};
    const Gpa from = std::max(run.range(0).begin, range.begin);
    const Gpa to = std::min(run.range(count - 1).end(), range.end());
    const GpaRange piece{from, to.value - from.value};
    const auto target = out.subspan(from.value - range.begin.value, piece.size);
    STASIS_TRY(read_run(file, run, piece, target, check, scratch));
    index += count;
  }
  return {};
}

Result<SnapshotHeader> read_header(FileSystem& file_system, const std::string& path) {
  STASIS_ASSIGN(const auto file, open_manifest(file_system, path));
  std::vector<std::byte> bytes(std::min<std::uint64_t>(file->size_bytes(), kHeaderBytesMax + 8));
  STASIS_TRY(file->read_at(0, bytes));
  auto header = decode_header(bytes);
  if (!header) {
    return std::move(header).error().with_context(in_file(*file));
  }
  return header;
}

}  // namespace stasis::snapshot
