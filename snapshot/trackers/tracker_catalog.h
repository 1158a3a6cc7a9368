// The dirty trackers of this project by name: which of them work here, which one to take, and how
// to make one.
//
//   compare       keeps a copy of all RAM and compares bytes: sees everything; the oracle.
//   compare-hash  the same with a 128-bit hash a page instead of a copy.
//   zero-scan     the same with a bit a page: reports all that is or was not zero. Inexact.
//   residency     Linux: all pages that were ever touched. Inexact.
//   protection    write-protects RAM; the first write to a page faults. Through Vm::protect() where
//                 the backend can, else as `userfaultfd`.
//   userfaultfd   Linux: write protection of the host's mapping, whoever writes.
//   pagemap-scan  Linux: write protection of the host's mapping that the kernel answers by itself.
//   soft-dirty    Linux: the mark that the kernel sets in the page table on a write. Inexact.
//   fork          Linux: compares with a frozen copy of the process that a fork made.
//   dirty-log     the hypervisor's own log (Vm::dirty_log()): a bitmap.
//   dirty-log-manual  the same; pages are protected again by a request of its own.
//   dirty-ring    the hypervisor's rings, one a vCPU. The VM must be made for it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/capabilities.h"
#include "core/dirty_tracker.h"
#include "core/guest_memory.h"
#include "core/hypervisor.h"
#include "core/machine.h"
#include "snapshot/trackers/cost_table.h"

namespace stasis::snapshot {

inline constexpr std::string_view kAutoTracker = "auto";
inline constexpr std::uint32_t kUnprotectPagesMax = 512;
inline constexpr std::uint32_t kRingEntriesMax = 65536;

enum class TrackerUse : std::uint8_t {
  kPausedSaves,
  kLiveSaves,  // Its pages are saved while the guest runs: the two must get along.
};

// Value.
struct TrackerOptions {
  // For the protection trackers: how many pages (a power of two, 1 .. kUnprotectPagesMax) one fault
  // makes writable. They are all reported, so a tracker with more than one is not exact: it trades
  // fewer faults for a larger snapshot.
  std::uint32_t unprotect_pages = 1;
  // For dirty-ring: how many pages (a power of two, kDirtyRingEntriesMin .. kRingEntriesMax, and
  // no more than the host allows) each vCPU's ring holds before the vCPU must stop to have it
  // emptied. 0: as many as the host allows.
  std::uint32_t ring_entries = 0;
  // For "auto" (trackers/tracker_auto.h), which no other tracker minds: how much memory the guest
  // will write before it is asked (nothing: unknown), what for, and what trackers cost here
  // (nothing: builtin_costs()).
  std::optional<std::uint64_t> expected_dirty_bytes = {};
  TrackerUse use = TrackerUse::kPausedSaves;
  // Whether pages that are not resident have to be brought in by a pager when they are touched.
  bool pages_are_missing = false;
  std::optional<CostTable> costs = {};
};

// VmConfig::dirty_ring_entries for a VM that this tracker is to be made for later; 0 for a tracker
// that needs no rings or an unknown one. kInvalidArgument for bad options.
Result<std::uint32_t> ring_entries_for(std::string_view name, const Capabilities& capabilities,
                                       const TrackerOptions& options = {});

// Every tracker, in the order of the list above, with the reason for each that cannot work with
// this backend on this host, whatever the memory. For `stasis doctor`.
std::vector<Availability> list_trackers(const Capabilities& capabilities);

// What a tracker of this name (not "auto") promises whatever the memory: a made one keeps it or is
// better, but that with kHugetlb memory it may be as coarse as a huge page. All false for a name
// that does not exist. Pure.
TrackerTraits promised_traits(std::string_view name, const Capabilities& capabilities,
                              const TrackerOptions& options = {});

// Errors: kInvalidArgument (unknown name, the message lists them all; bad options), kNotSupported
// (known, but not with this backend or this memory; reason and cure). `vm` and `memory` must
// outlive the tracker. "auto" makes the one that make_auto_tracker() chooses (of a Vm alone: for
// one vCPU).
Result<std::unique_ptr<DirtyTracker>> make_tracker(std::string_view name, Vm& vm,
                                                   GuestMemory& memory,
                                                   const Capabilities& capabilities,
                                                   const TrackerOptions& options = {});
Result<std::unique_ptr<DirtyTracker>> make_tracker(std::string_view name, Machine& machine,
                                                   const TrackerOptions& options = {});

}  // namespace stasis::snapshot
