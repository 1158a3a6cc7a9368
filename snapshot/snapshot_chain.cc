#include "snapshot/snapshot_chain.h"

#include <algorithm>
#include <set>
#include <utility>

#include "core/text.h"
#include "snapshot/manifest_codec.h"

namespace stasis::snapshot {
namespace {

bool is_parent_of(const SnapshotReader& reader, const ParentLink& link) {
  return reader.manifest().id == link.id && reader.root() == link.root;
}

std::string parent_text(const SnapshotReader& child) {
  return "parent " + to_string(child.manifest().parent->id) + " of '" + child.path() + "'";
}

// Directories beside the child that hold a snapshot with the parent's id; reading headers is cheap.
std::vector<std::string> siblings_with_id(FileSystem& file_system, const std::string& directory,
                                          const SnapshotId& id) {
  std::vector<std::string> found;
  auto names = file_system.list_directory(directory);
  if (!names) {
    return found;  // The child can be opened where its siblings cannot be listed.
  }
  std::sort(names->begin(), names->end());
  for (const std::string& name : *names) {
    if (name.empty() || name.front() == '.') {
      continue;  // Among others, temporaries.
    }
    std::string path = join_path(directory, name);
    const auto header = read_header(file_system, path);
    if (header && header->id == id) {
      found.push_back(std::move(path));
    }
  }
  return found;
}

// What happened at the places where a parent may be.
struct Search {
  std::vector<std::string> places;  // Looked at, without success.
  std::optional<Error> failure;     // The first place that has a snapshot which is not it.
};

// The snapshot at `path` if it is the parent; otherwise notes why not.
std::unique_ptr<SnapshotReader> try_parent(FileSystem& file_system, const std::string& path,
                                           const SnapshotReader& child, Search& search) {
  auto reader = SnapshotReader::open(file_system, path);
  if (reader && is_parent_of(**reader, *child.manifest().parent)) {
    return *std::move(reader);
  }
  search.places.push_back("'" + path + "'");
  if (search.failure) {
    return nullptr;
  }
  if (reader) {
    const ParentLink& link = *child.manifest().parent;
    search.failure = Error{Errc::kMismatch, 0,
                           "'" + path + "' is snapshot " + to_string((*reader)->manifest().id) +
                               " with content root " + to_string((*reader)->root()) +
                               ", but the parent of '" + child.path() + "' is " +
                               to_string(link.id) + " with content root " + to_string(link.root)};
  } else if (reader.error().code != Errc::kNotFound) {
    search.failure = std::move(reader).error().with_context(parent_text(child));
  }
  return nullptr;
}

Result<std::unique_ptr<SnapshotReader>> find_parent(FileSystem& file_system,
                                                    const SnapshotReader& child) {
  const ParentLink& link = *child.manifest().parent;
  Search search;
  if (!link.path.empty()) {
    const std::string path =
        link.path.front() == '/' ? link.path : join_path(child.path(), link.path);
    if (auto parent = try_parent(file_system, path, child, search)) {
      return parent;
    }
  }
  const auto canonical = file_system.canonical_path(child.path());
  const std::string siblings = split_path(canonical ? *canonical : child.path()).parent;
  for (const std::string& path : siblings_with_id(file_system, siblings, link.id)) {
    if (auto parent = try_parent(file_system, path, child, search)) {
      return parent;
    }
  }
  if (search.failure) {
    return *std::move(search.failure);
  }
  std::string places;
  for (const std::string& place : search.places) {
    places += place + ", ";
  }
  return Error{Errc::kNotFound, 0,
               parent_text(child) + " not found: looked at " + places +
                   "and for its id in all of '" + siblings +
                   "'; put the parent there, or merge the chain where it is complete"};
}

bool same_ranges(const Manifest& a, const Manifest& b) {
  return std::equal(
      a.regions.begin(), a.regions.end(), b.regions.begin(), b.regions.end(),
      [](const ManifestRegion& x, const ManifestRegion& y) { return x.range == y.range; });
}

Result<void> check_fit(const SnapshotReader& child, const SnapshotReader& parent) {
  const Manifest& a = child.manifest();
  const Manifest& b = parent.manifest();
  const std::string pair = "'" + child.path() + "' and its parent '" + parent.path() + "' have ";
  if (a.architecture != b.architecture) {
    return Error{Errc::kMismatch, 0,
                 pair + "architectures " + std::string(name_of(a.architecture)) + " and " +
                     std::string(name_of(b.architecture))};
  }
  if (a.page_size_bytes != b.page_size_bytes) {
    return Error{Errc::kMismatch, 0,
                 pair + "page sizes " + std::to_string(a.page_size_bytes) + " and " +
                     std::to_string(b.page_size_bytes)};
  }
  if (!same_ranges(a, b)) {
    return Error{Errc::kMismatch, 0, pair + "different memory regions"};
  }
  return {};
}

// Walks the chain once from low to high addresses. Each depth has a cursor into its extents that
// only moves forward, because ranges are asked for in address order: linear in all extents.
class Resolver {
 public:
  explicit Resolver(const SnapshotChain& chain) : chain_(chain), cursors_(chain.depth(), 0) {}

  std::vector<ResolvedExtent> run() && {
    out_.reserve(chain_.manifest().extents.size());
    for (const Extent& extent : chain_.manifest().extents) {
      resolve(extent.range, 0);
    }
    return std::move(out_);
  }

 private:
  // At most kChainDepthMax deep. NOLINTNEXTLINE(misc-no-recursion)
  void resolve(GpaRange range, std::uint32_t depth) {
    const std::vector<Extent>& extents = chain_.at(depth).manifest().extents;
    std::size_t& cursor = cursors_[depth];
    while (range.size != 0) {
      while (extents[cursor].range.end() <= range.begin) {
        ++cursor;
      }
      const Extent& extent = extents[cursor];
      const std::uint64_t size =
          std::min(range.end(), extent.range.end()).value - range.begin.value;
      const GpaRange piece{range.begin, size};
      if (extent.kind == ExtentKind::kInherited) {
        resolve(piece, depth + 1);
      } else {
        emit(piece, depth, cursor, extent);
      }
      range = {piece.end(), range.size - size};
    }
  }

  void emit(GpaRange piece, std::uint32_t depth, std::size_t index, const Extent& extent) {
    if (!is_stored(extent.kind)) {
      ResolvedExtent* const last = out_.empty() ? nullptr : &out_.back();
      if (last != nullptr && last->kind == ExtentKind::kZero && last->range.end() == piece.begin &&
          !begins_region(piece.begin)) {
        last->range.size += piece.size;
      } else {
        out_.push_back({piece, ExtentKind::kZero, 0, 0, 0, 0, 0});
      }
      return;
    }
    const std::uint64_t chunk = chain_.at(depth).manifest().chunk_bytes;
    const std::uint64_t lead = piece.begin.value - extent.range.begin.value;
    ResolvedExtent resolved{piece, extent.kind, depth, static_cast<std::uint32_t>(index), 0, 0, 0};
    resolved.file_offset = extent.kind == ExtentKind::kRaw ? extent.file_offset + lead : 0;
    resolved.first_chunk =
        extent.first_chunk + static_cast<std::uint32_t>((piece.begin.value / chunk) -
                                                        (extent.range.begin.value / chunk));
    resolved.chunk_count = static_cast<std::uint32_t>(chunk_count_of(piece, chunk));
    out_.push_back(resolved);
  }

  [[nodiscard]] bool begins_region(Gpa gpa) const {
    const auto& regions = chain_.manifest().regions;
    return std::any_of(regions.begin(), regions.end(),
                       [&](const ManifestRegion& region) { return region.range.begin == gpa; });
  }

  const SnapshotChain& chain_;
  std::vector<std::size_t> cursors_;
  std::vector<ResolvedExtent> out_;
};

}  // namespace

SnapshotChain::SnapshotChain(Readers readers) : readers_(std::move(readers)) {}

std::unique_ptr<SnapshotChain> SnapshotChain::share() const {
  return std::unique_ptr<SnapshotChain>(new SnapshotChain(readers_));
}

Result<std::unique_ptr<SnapshotChain>> SnapshotChain::open(FileSystem& file_system,
                                                           const std::string& path) {
  Readers readers;
  std::set<SnapshotId> seen;
  STASIS_ASSIGN(auto reader, SnapshotReader::open(file_system, path));
  while (true) {
    const Manifest& manifest = reader->manifest();
    if (!seen.insert(manifest.id).second) {
      return Error{Errc::kCorruption, 0,
                   "'" + path + "': the chain of parents is a cycle: snapshot " +
                       to_string(manifest.id) + " is its own ancestor"};
    }
    if (!readers.empty()) {
      STASIS_TRY(check_fit(*readers.back(), *reader));
    }
    readers.push_back(std::move(reader));
    if (!manifest.parent) {
      break;
    }
    if (readers.size() == kChainDepthMax) {
      return Error{Errc::kCorruption, 0,
                   "'" + path + "': more than " + std::to_string(kChainDepthMax) +
                       " snapshots in the chain of parents"};
    }
    STASIS_ASSIGN(reader, find_parent(file_system, *readers.back()));
  }
  return std::unique_ptr<SnapshotChain>(new SnapshotChain(std::move(readers)));
}

std::vector<ResolvedExtent> resolve(const SnapshotChain& chain) {
  return Resolver(chain).run();
}

ChainContents::ChainContents(const SnapshotChain& chain, std::vector<ChunkTable> tables)
    : chain_(&chain), tables_(std::move(tables)), extents_(resolve(chain)) {}

Result<ChainContents> ChainContents::open(const SnapshotChain& chain) {
  std::vector<ChunkTable> tables;
  for (std::size_t depth = 0; depth < chain.depth(); ++depth) {
    STASIS_ASSIGN(ChunkTable table, chain.at(depth).read_index());
    tables.push_back(std::move(table));
  }
  return ChainContents(chain, std::move(tables));
}

Result<void> ChainContents::read(GpaRange range, std::span<std::byte> out, CheckChunks check,
                                 ReadScratch& scratch) const {
  STASIS_CHECK(range.size == out.size());
  auto at = std::upper_bound(
      extents_.begin(), extents_.end(), range.begin,
      [](Gpa gpa, const ResolvedExtent& extent) { return gpa < extent.range.end(); });
  while (range.size != 0) {
    if (at == extents_.end() || !at->range.contains(range.begin)) {
      return Error{Errc::kOutOfRange, 0,
                   "guest memory " + describe(range) + " is not part of the snapshot"};
    }
    const std::uint64_t size = std::min(range.end(), at->range.end()).value - range.begin.value;
    const GpaRange piece{range.begin, size};
    if (at->kind == ExtentKind::kZero) {
      std::fill_n(out.begin(), size, std::byte{0});
    } else {
      const SnapshotReader& reader = chain_->at(at->depth);
      STASIS_TRY(reader.read_stored(tables_[at->depth], reader.manifest().extents[at->extent_index],
                                    piece, out.first(size), check, scratch));
    }
    range = {piece.end(), range.size - size};
    out = out.subspan(size);
    ++at;
  }
  return {};
}

}  // namespace stasis::snapshot
