// Brings in missing pages that somebody will touch: reads them in few large pieces, then puts them
// in their places. Private to snapshot/restore/.
#pragma once

#include <atomic>
#include <span>

#include "core/guest_memory.h"
#include "core/result.h"
#include "snapshot/linux/missing_faults.h"
#include "snapshot/restore/chunk_cache.h"
#include "snapshot/restore/plan.h"

namespace stasis::snapshot::internal {

// The missing pages of one memory. Value; all borrowed.
struct MissingPages {
  GuestMemory* memory = nullptr;
  MissingFaults* faults = nullptr;  // Null: nothing is missing, only mapped.
  const StoredPages* stored = nullptr;
  std::span<const SourceExtent> sources;  // Of ServeMissing steps (or mapped), in address order.
};

// The source that holds `gpa`; null if none does.
const SourceExtent* source_of(std::span<const SourceExtent> sources, Gpa gpa);

// Executes `fetch`; stops early when `stop` becomes true. kCorruption and kIo as
// StoredPages::read(); kNotSupported for kMove where the kernel cannot. What was installed before
// an error stays. A failure of kPageCache is none: it costs time.
Result<void> fetch_pages(const MissingPages& pages, const Fetch& fetch,
                         const std::atomic<bool>& stop);

}  // namespace stasis::snapshot::internal
