// Guest memory on its way into a payload: found zero or not, checksummed, compressed, written.
// Private to snapshot/.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/ranges.h"
#include "core/result.h"
#include "snapshot/file_system.h"
#include "snapshot/manifest.h"
#include "snapshot/progress.h"
#include "snapshot/snapshot_writer.h"

namespace stasis::snapshot::internal {

struct PayloadPlan {
  Layout layout = Layout::kMappable;
  Codec codec = Codec::kNone;
  std::uint32_t chunk_bytes = 64U << 10U;
  std::uint32_t page_size_bytes = 4096;
  std::uint32_t threads = 2;
  bool write_back_early = false;  // The file will be synced: let the disk begin.
  std::vector<ManifestRegion> regions;
  GpaRanges ranges;  // To be stored: normalized whole pages, inside the regions.
};

struct PayloadContents {
  std::vector<Extent> extents;  // Of plan.ranges only, in address order, as long as possible.
  std::vector<Chunk> chunks;
  std::uint64_t payload_bytes = 0;
  std::uint64_t zero_bytes = 0, raw_bytes = 0, stored_bytes = 0;
};

// Units of work of about 2 MiB go through the threads: each unit is scanned and checksummed (and
// compressed) by one thread, gets its place in the file in its turn, and is written while other
// threads scan the next ones. Memory: a few MiB a thread.
Result<PayloadContents> write_payload(const PayloadPlan& plan, const MemorySource& source,
                                      WritableFile& file, const Supervision& supervision);

}  // namespace stasis::snapshot::internal
