#include "snapshot/restore/chunk_cache.h"

#include <algorithm>
#include <utility>

namespace stasis::snapshot::internal {
namespace {

constexpr std::uint64_t kCacheBytesMax = std::uint64_t{8} << 20U;  // Of one thread.
constexpr std::size_t kEntriesMax = 16;

}  // namespace

StoredPages::StoredPages(std::unique_ptr<SnapshotChain> chain, std::vector<ChunkTable> tables,
                         Verify verify)
    : chain_(std::move(chain)), tables_(std::move(tables)), verify_(verify) {}

Result<StoredPages> StoredPages::open(const SnapshotChain& chain,
                                      std::span<const SourceExtent> sources, Verify verify) {
  std::vector<ChunkTable> tables(chain.depth());
  for (const SourceExtent& source : sources) {
    const bool needed = source.extent.kind == ExtentKind::kLz4 ||
                        (source.extent.kind == ExtentKind::kRaw && verify == Verify::kOn);
    if (needed && tables.at(source.depth).chunks.empty()) {
      STASIS_ASSIGN(tables[source.depth], chain.at(source.depth).read_index());
    }
  }
  return StoredPages(chain.share(), std::move(tables), verify);
}

Result<void> StoredPages::read(const SourceExtent& source, GpaRange range, std::span<std::byte> out,
                               const ReadableFile* payload, ReadScratch& scratch) const {
  const SnapshotReader& from = reader(source.depth);
  return from.read_stored(tables_[source.depth], source.extent, range, out,
                          verify_ == Verify::kOn ? CheckChunks::kYes : CheckChunks::kNo, scratch,
                          payload);
}

GpaRange StoredPages::in_one_chunk(const SourceExtent& source, GpaRange range) const {
  const std::uint64_t chunk_bytes = reader(source.depth).manifest().chunk_bytes;
  const std::uint64_t left = chunk_bytes - range.begin.value % chunk_bytes;
  return {range.begin, std::min(range.size, left)};
}

GpaRange StoredPages::whole_chunk(const SourceExtent& source, Gpa gpa) const {
  const std::uint64_t chunk_bytes = reader(source.depth).manifest().chunk_bytes;
  const Gpa begin{std::max(gpa.value - gpa.value % chunk_bytes, source.range.begin.value)};
  return in_one_chunk(source, {begin, source.range.end().value - begin.value});
}

bool StoredPages::reads_parts(const SourceExtent& source) const {
  return source.extent.kind == ExtentKind::kRaw && verify_ == Verify::kOff;
}

Result<std::span<const std::byte>> ChunkCache::bytes(const SourceExtent& source, GpaRange range) {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.depth == source.depth && range.begin >= entry.range.begin &&
           range.end() <= entry.range.end();
  });
  const Entry* entry = found != entries_.end() ? &*found : nullptr;
  if (entry == nullptr) {
    STASIS_ASSIGN(
        entry,
        load(source, pages_.reads_parts(source) ? range : pages_.whole_chunk(source, range.begin)));
  }
  return std::span(entry->bytes).subspan(range.begin.value - entry->range.begin.value, range.size);
}

Result<const ChunkCache::Entry*> ChunkCache::load(const SourceExtent& source, GpaRange range) {
  const std::uint64_t chunk_bytes = pages_.reader(source.depth).manifest().chunk_bytes;
  const std::size_t most = std::clamp<std::size_t>(kCacheBytesMax / chunk_bytes, 1, kEntriesMax);
  if (entries_.size() < most) {
    next_ = entries_.size();
    entries_.emplace_back();
  }
  Entry& entry = entries_[next_ % entries_.size()];
  next_ = (next_ + 1) % most;
  entry.range = {};  // Nothing, should the read fail.
  entry.bytes.resize(range.size);
  STASIS_TRY(pages_.read(source, range, entry.bytes, nullptr, scratch_));
  entry.depth = source.depth;
  entry.range = range;
  return &entry;
}

}  // namespace stasis::snapshot::internal
