// Executes the filling steps of a plan: copies and decompresses payload into guest memory, in
// parallel, checked against the checksums. Private to snapshot/restore/.
//
// Guest memory is cut into areas of a few MiB, and one thread fills all of one area: each huge page
// is then faulted in by one thread, and a chunk that is checked stays in that core's cache while it
// is copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/guest_memory.h"
#include "core/result.h"
#include "snapshot/file_system.h"
#include "snapshot/manifest.h"
#include "snapshot/progress.h"
#include "snapshot/restore/plan.h"

namespace stasis::snapshot::internal {

// One snapshot's payload as the filler reads it. Value; all borrowed.
struct PayloadSource {
  const ReadableFile* file = nullptr;
  std::uint32_t chunk_bytes = 0;
  // Of the whole snapshot. May be empty where the plan only copies raw bytes without checking them.
  std::span<const Chunk> chunks = {};
};

// Fills `memory` as the plan's ReadInto and DecompressInto steps say; `sources` by depth. On an
// error (kCorruption names file, chunk and guest address; kIo) the memory is undefined. Uses at
// most 48 MiB of its own, however many threads the plan asks for. A cancellation is noticed between
// two areas of at most 8 MiB.
Result<void> fill_memory(const RestorePlan& plan, std::span<const PayloadSource> sources,
                         GuestMemory& memory, const Supervision& supervision);

}  // namespace stasis::snapshot::internal
