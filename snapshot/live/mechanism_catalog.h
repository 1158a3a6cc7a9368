// The mechanisms of live capture by name: which of them work here, and which one to take.
//
//   userfaultfd  Linux: write protection of the host's mapping, answered by a thread of ours.
//   Almost
//                all of the arming is done before the pause. Anonymous and memfd memory.
//   fork         Linux: a copy of the process. Private memory, files mapped into it included. The
//                kernel keeps what is overwritten, as much as it is.
//   protection   write protection by the hypervisor, Vm::protect().
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "core/capabilities.h"
#include "core/dirty_tracker.h"
#include "core/machine.h"
#include "core/result.h"
#include "snapshot/live/live_options.h"

namespace stasis::snapshot {

namespace internal {
class FrozenMemory;
}  // namespace internal

// Every mechanism, in the order of the list above, with the reason for each that cannot work with
// this backend on this host, whatever the memory. For `stasis doctor`.
std::vector<Availability> list_live_mechanisms(const Capabilities& capabilities);

// kInvalidArgument for a name that does not exist (the message lists them all) or a buffer of 0
// bytes.
Result<void> check_live_options(const LiveOptions& options);

namespace internal {

// The one that options.mechanism names; "auto": the first of the list that works with this backend
// and this memory, but `protection` first beside a tracker that protects by Vm::protect().
// `tracker`: the one that is armed, or nullptr. kNotSupported with the reason and a cure, of "auto"
// the reasons of all.
Result<std::unique_ptr<FrozenMemory>> make_frozen_memory(Machine& machine, DirtyTracker* tracker,
                                                         const LiveOptions& options);

}  // namespace internal
}  // namespace stasis::snapshot
