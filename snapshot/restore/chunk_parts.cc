#include "snapshot/restore/chunk_parts.h"

#include <algorithm>
#include <string>

#include "core/text.h"

namespace stasis::snapshot::internal {
namespace {

// Below this a system call that copies is cheaper than two that map and unmap.
constexpr std::uint64_t kWindowBytesMin = std::uint64_t{256} << 10U;

}  // namespace

Result<std::vector<ChunkPart>> parts_of(const FillJob& job, const PayloadSource& source,
                                        Verify verify) {
  const Extent& extent = job.source->extent;
  const std::uint64_t chunk_bytes = source.chunk_bytes;
  const std::uint64_t first =
      job.range.begin.value / chunk_bytes - extent.range.begin.value / chunk_bytes;
  const std::uint64_t last = first + chunk_count_of(job.range, chunk_bytes) - 1;
  // Raw bytes lie where the extent says; only their checksums are in the table.
  const bool raw = extent.kind == ExtentKind::kRaw;
  const bool use_table = !raw || verify == Verify::kOn;
  if (use_table && !fits(extent.first_chunk + first, last - first + 1, source.chunks.size())) {
    return Error{Errc::kCorruption, 0,
                 "snapshot of '" + source.file->path() + "': extent " + describe(extent.range) +
                     " needs chunks beyond the " + std::to_string(source.chunks.size()) +
                     " of its index"};
  }
  std::vector<ChunkPart> parts;
  parts.reserve(last - first + 1);
  for (std::uint64_t i = first; i <= last; ++i) {
    ChunkPart part;
    part.index = extent.first_chunk + i;
    part.whole = chunk_range_of(extent.range, i, chunk_bytes);
    if (use_table) {
      part.chunk = source.chunks[part.index];
    }
    if (raw) {
      part.chunk.file_offset =
          extent.file_offset + (part.whole.begin.value - extent.range.begin.value);
      part.chunk.stored_bytes = static_cast<std::uint32_t>(part.whole.size);
    }
    part.wanted.begin = std::max(part.whole.begin, job.range.begin);
    const Gpa end = std::min(part.whole.end(), job.range.end());
    part.wanted.size = end.value - part.wanted.begin.value;
    parts.push_back(part);
  }
  return parts;
}

Result<void> check_inside(const ChunkPart& part, const ReadableFile& file) {
  const Chunk& chunk = part.chunk;
  if (fits(chunk.file_offset, chunk.stored_bytes, file.size_bytes())) {
    return {};
  }
  return Error{Errc::kCorruption, 0,
               "payload '" + file.path() + "': the chunk of guest memory " + describe(part.whole) +
                   " ends at offset " + std::to_string(chunk.file_offset) + " + " +
                   std::to_string(chunk.stored_bytes) + ", but the file has " +
                   std::to_string(file.size_bytes()) +
                   " bytes: it was cut short or belongs to another snapshot"};
}

void Stretch::add(const ChunkPart& part) {
  begin = std::min(begin, part.chunk.file_offset);
  end = std::max(end, part.chunk.file_offset + part.chunk.stored_bytes);
  used_bytes += part.index == last_index ? 0 : part.chunk.stored_bytes;
  last_index = part.index;
}

bool Stretch::is_worth_mapping() const {
  // Chunks that lie far apart would map much more than they use.
  return end > begin && size() >= kWindowBytesMin && size() / 2 <= used_bytes;
}

}  // namespace stasis::snapshot::internal
