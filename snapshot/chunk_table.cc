// The only file that names the generated code of schemas/index.capnp.
#include "snapshot/chunk_table.h"

#include <algorithm>
#include <string>
#include <utility>

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include "core/text.h"
#include "schemas/index.capnp.h"
#include "snapshot/checksum.h"
#include "snapshot/words.h"

namespace stasis::snapshot {
namespace {

Error corrupt(std::string message) {
  return Error{Errc::kCorruption, 0, std::move(message)};
}

// The lists of an index. Each is fetched once: every get counts against the traversal limit.
struct IndexLists {
  capnp::List<std::uint64_t>::Reader checksums;
  capnp::List<std::uint32_t>::Reader stored;
};

// The chunks of one stored extent, whose sizes begin at extent.first_chunk.
Result<void> place_chunks(const Manifest& manifest, const Extent& extent, const IndexLists& lists,
                          std::vector<Chunk>& chunks) {
  const auto& [checksums, stored] = lists;
  const std::uint64_t count = chunk_count_of(extent.range, manifest.chunk_bytes);
  std::uint64_t offset = extent.file_offset;
  for (std::uint64_t i = 0; i < count; ++i) {
    const GpaRange range = chunk_range_of(extent.range, i, manifest.chunk_bytes);
    const auto number = static_cast<unsigned>(extent.first_chunk + i);
    const std::uint64_t size = stored.size() == 0 ? range.size : stored[number];
    const bool possible =
        extent.kind == ExtentKind::kRaw ? size == range.size : size != 0 && size <= range.size;
    if (!possible || !fits(offset, size, manifest.payload_bytes)) {
      return corrupt("chunk " + std::to_string(number) + " of guest memory " + describe(range) +
                     ": " + std::to_string(size) + " stored bytes at offset " +
                     std::to_string(offset) + " are not possible");
    }
    chunks.push_back({offset, static_cast<std::uint32_t>(size), checksums[number]});
    offset += size;
  }
  return {};
}

Result<ChunkTable> decode(const Manifest& manifest, schema::Index::Reader index) {
  const auto id = index.getSnapshotId();
  if (!std::ranges::equal(id, manifest.id.bytes)) {
    return corrupt("belongs to another snapshot");
  }
  const std::uint32_t count = manifest.chunk_count;
  const std::uint32_t sizes = manifest.codec == Codec::kNone ? 0 : count;
  const IndexLists lists{index.getChecksums(), index.getStoredBytes()};
  if (lists.checksums.size() != count || lists.stored.size() != sizes) {
    return corrupt(std::to_string(lists.checksums.size()) + " checksums and " +
                   std::to_string(lists.stored.size()) + " sizes instead of " +
                   std::to_string(count) + " and " + std::to_string(sizes));
  }
  ChunkTable table;
  table.chunks.reserve(count);
  for (const Extent& extent : manifest.extents) {
    if (is_stored(extent.kind)) {
      STASIS_TRY(place_chunks(manifest, extent, lists, table.chunks));
    }
  }
  return table;
}

}  // namespace

std::vector<std::byte> encode_chunk_table(const SnapshotId& id, Codec codec,
                                          std::span<const Chunk> chunks) {
  capnp::MallocMessageBuilder message(static_cast<unsigned>(128 + (chunks.size() * 2)));
  auto index = message.initRoot<schema::Index>();
  index.setSnapshotId(kj::arrayPtr(id.bytes.data(), id.bytes.size()));
  auto checksums = index.initChecksums(static_cast<unsigned>(chunks.size()));
  for (unsigned i = 0; i < checksums.size(); ++i) {
    checksums.set(i, chunks[i].checksum);
  }
  if (codec != Codec::kNone) {
    auto stored = index.initStoredBytes(static_cast<unsigned>(chunks.size()));
    for (unsigned i = 0; i < stored.size(); ++i) {
      stored.set(i, chunks[i].stored_bytes);
    }
  }
  return internal::bytes_of(message);
}

Result<ChunkTable> decode_chunk_table(const Manifest& manifest, std::span<const std::byte> file) {
  if (file.size() != manifest.index_bytes) {
    return corrupt(std::to_string(file.size()) + " bytes instead of " +
                   std::to_string(manifest.index_bytes));
  }
  if (wide_checksum(file) != manifest.index_checksum) {
    return corrupt("checksum does not match the manifest");
  }
  try {
    const internal::AlignedWords words(file);
    capnp::FlatArrayMessageReader reader(words.get(), internal::reader_options(file.size()));
    return decode(manifest, reader.getRoot<schema::Index>());
  } catch (const kj::Exception& exception) {
    return corrupt(exception.getDescription().cStr());
  }
}

}  // namespace stasis::snapshot
