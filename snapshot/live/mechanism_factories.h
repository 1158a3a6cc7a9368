// The makers behind mechanism_catalog.h. Private to snapshot/live/.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "core/capabilities.h"
#include "core/dirty_tracker.h"
#include "core/guest_memory.h"
#include "core/hypervisor.h"
#include "snapshot/live/frozen_memory.h"
#include "snapshot/live/live_options.h"

namespace stasis::snapshot::internal {

// How the thread that answers write faults is watched; and the seam at which tests hold it or make
// it fail. Value.
struct FaultThreadOptions {
  // On that thread, before it looks for faults. An error ends it.
  std::function<Result<void>()> before_answering = {};
  // It is given up when faults have waited for it at so many looks in a row, and it has answered
  // none. Counted and not timed, so that a process that was stopped as a whole is forgiven.
  std::chrono::nanoseconds look_every = std::chrono::milliseconds(500);
  std::uint32_t looks = 20;
};

// Write protection of the host's mapping, answered by a thread: whoever writes. kNotSupported,
// naming the region and a cure, if a region cannot be protected this way; kInvalidArgument if an
// armed tracker protects it already.
Result<std::unique_ptr<FrozenMemory>> make_userfaultfd_freeze(
    GuestMemory& memory, const LiveOptions& options, const FaultThreadOptions& thread = {});

// A copy of this process that a fork makes. kNotSupported, naming the region, if a region's memory
// is shared with the copy.
Result<std::unique_ptr<FrozenMemory>> make_fork_freeze(GuestMemory& memory);

// Vm::protect() for the guest, a HostWriteGuard for the host. `vm` must have
// Capabilities::write_protection. `tracker`: the armed one if it protects memory in the same way
// (it has a write_fault_handler()); it then decides which pages are protected, and is told of every
// write. Else nullptr.
Result<std::unique_ptr<FrozenMemory>> make_protection_freeze(Vm& vm, GuestMemory& memory,
                                                             const LiveOptions& options,
                                                             DirtyTracker* tracker);

}  // namespace stasis::snapshot::internal
