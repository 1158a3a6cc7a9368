#include <string>
#include <vector>

#include "snapshot/operations.h"

namespace stasis::snapshot {
namespace {

std::vector<Inspection::Kind> all_kinds() {
  return {{ExtentKind::kZero}, {ExtentKind::kRaw}, {ExtentKind::kLz4}, {ExtentKind::kInherited}};
}

void count(std::vector<Inspection::Kind>& kinds, ExtentKind kind, std::uint64_t bytes) {
  for (Inspection::Kind& one : kinds) {
    if (one.kind == kind) {
      ++one.extents;
      one.bytes += bytes;
    }
  }
}

}  // namespace

Result<Inspection> inspect(const SnapshotChain& chain) {
  Inspection out;
  const SnapshotReader& leaf = chain.leaf();
  const Manifest& manifest = leaf.manifest();
  for (const ManifestRegion& region : manifest.regions) {
    out.memory_bytes += region.range.size;
  }
  out.kinds = all_kinds();
  for (const Extent& extent : manifest.extents) {
    count(out.kinds, extent.kind, extent.range.size);
    if (is_stored(extent.kind)) {
      out.raw_bytes += extent.range.size;
    }
  }
  STASIS_ASSIGN(const ChunkTable table, leaf.read_index());
  for (const Chunk& chunk : table.chunks) {
    out.stored_bytes += chunk.stored_bytes;
  }
  out.manifest_bytes = leaf.manifest_file_bytes();
  out.index_bytes = manifest.index_bytes;
  out.payload_bytes = manifest.payload_bytes;
  if (out.stored_bytes != 0) {
    out.compression_ratio =
        static_cast<double>(out.raw_bytes) / static_cast<double>(out.stored_bytes);
  }
  for (std::size_t depth = 0; depth < chain.depth(); ++depth) {
    out.ancestors.push_back({chain.at(depth).path(), chain.at(depth).manifest().id, 0});
  }
  out.resolved = all_kinds();
  for (const ResolvedExtent& extent : resolve(chain)) {
    count(out.resolved, extent.kind, extent.range.size);
    if (is_stored(extent.kind)) {
      out.ancestors[extent.depth].resolved_bytes += extent.range.size;
    }
  }
  return out;
}

}  // namespace stasis::snapshot
