// Finds what changed since a snapshot without having tracked it: by reading the snapshot and
// comparing. Slow and always right. Private to session/.
#pragma once

#include <memory>
#include <string>

#include "core/dirty_tracker.h"
#include "core/guest_memory.h"
#include "snapshot/snapshot_chain.h"

namespace stasis::session::internal {

// collect() reports the pages of `memory` that differ from `parent`; arm() does nothing. Both are
// borrowed. Reads all memory and the whole snapshot, a mebibyte at a time.
std::unique_ptr<DirtyTracker> make_parent_compare(const GuestMemory& memory,
                                                  const snapshot::SnapshotChain& parent);

}  // namespace stasis::session::internal
