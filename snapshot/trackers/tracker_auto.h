// The tracker that "auto" is for one VM: the facts that the choice rests on, and the choice made.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/capabilities.h"
#include "core/dirty_tracker.h"
#include "core/guest_memory.h"
#include "core/hypervisor.h"
#include "core/machine.h"
#include "snapshot/trackers/tracker_catalog.h"
#include "snapshot/trackers/tracker_choice.h"

namespace stasis::snapshot {

// Of how much memory a guest is expected to write where nobody says: one page in so many.
inline constexpr std::uint64_t kExpectedDirtyShare = 100;

// Looks which pages are resident, at some of them; where the host does not tell, all are. Well
// under a millisecond.
TrackerWorkload workload_of(const GuestMemory& memory, const Capabilities& capabilities,
                            std::uint32_t vcpus, const TrackerOptions& options);

// A tracker, and why it is this one, sentence by sentence.
struct ChosenTracker {
  std::unique_ptr<DirtyTracker> tracker;
  std::vector<std::string> reasons;
};
// The tracker that costs least by options.costs among those that can be made for this VM and this
// memory; asks the host about those alone that would have been better. Errors and lifetimes as
// make_tracker().
Result<ChosenTracker> make_auto_tracker(Vm& vm, GuestMemory& memory,
                                        const Capabilities& capabilities, std::uint32_t vcpus,
                                        const TrackerOptions& options);
Result<ChosenTracker> make_auto_tracker(Machine& machine, const TrackerOptions& options);

}  // namespace stasis::snapshot
