// The makers behind tracker_catalog.h, one for each mechanism. Private to snapshot/trackers/.
#pragma once

#include <memory>

#include "core/capabilities.h"
#include "core/dirty_tracker.h"
#include "core/guest_memory.h"
#include "core/hypervisor.h"
#include "snapshot/trackers/tracker_catalog.h"

namespace stasis::snapshot::internal {

enum class CompareBy { kBytes, kHash, kZero };

std::unique_ptr<DirtyTracker> make_compare_tracker(GuestMemory& memory, CompareBy by);

// `vm` must have Capabilities::write_protection.
std::unique_ptr<DirtyTracker> make_protection_tracker(Vm& vm, GuestMemory& memory,
                                                      const TrackerOptions& options);

// `log` must be the VM's, of that kind.
std::unique_ptr<DirtyTracker> make_dirty_log_tracker(DirtyLog& log, DirtyLogKind kind,
                                                     GuestMemory& memory);

// Whether this process may read its page table's entries.
Availability probe_residency();
// kNotSupported, naming the region, if absent from the page table is not unwritten there.
Result<std::unique_ptr<DirtyTracker>> make_residency_tracker(GuestMemory& memory);

// Whether this process can keep a frozen copy of itself and read it.
Availability probe_fork();
// kNotSupported, naming the region, if a region's memory is shared with the copy.
Result<std::unique_ptr<DirtyTracker>> make_fork_tracker(GuestMemory& memory);

// Whether the kernel marks page table entries that were written through.
Availability probe_soft_dirty();
// kNotSupported, naming the region, if marks can get lost there; kInvalidArgument on arm() while
// another of this process is armed, because the marks are the whole process's.
Result<std::unique_ptr<DirtyTracker>> make_soft_dirty_tracker(GuestMemory& memory);

// Whether the kernel keeps and gives the marks of pages written by itself.
Availability probe_pagemap_scan();
Result<std::unique_ptr<DirtyTracker>> make_pagemap_scan_tracker(GuestMemory& memory);

// Whether the kernel lets this process write-protect memory by userfaultfd.
Availability probe_userfaultfd();
// kNotSupported, naming the region and a cure, if a region cannot be write-protected this way.
Result<std::unique_ptr<DirtyTracker>> make_userfaultfd_tracker(GuestMemory& memory,
                                                               const TrackerOptions& options);

}  // namespace stasis::snapshot::internal
