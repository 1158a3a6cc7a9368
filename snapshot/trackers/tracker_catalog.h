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
//   dirty-log     the hypervisor's own log (Vm::dirty_log()).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/capabilities.h"
#include "core/dirty_tracker.h"
#include "core/guest_memory.h"
#include "core/hypervisor.h"
#include "core/machine.h"

namespace stasis::snapshot {

inline constexpr std::uint32_t kUnprotectPagesMax = 512;

// Value.
struct TrackerOptions {
  // For the protection trackers: how many pages (a power of two, 1 .. kUnprotectPagesMax) one fault
  // makes writable. They are all reported, so a tracker with more than one is not exact: it trades
  // fewer faults for a larger snapshot.
  std::uint32_t unprotect_pages = 1;
};

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
// outlive the tracker. "auto" makes the one that choose_tracker() names.
Result<std::unique_ptr<DirtyTracker>> make_tracker(std::string_view name, Vm& vm,
                                                   GuestMemory& memory,
                                                   const Capabilities& capabilities,
                                                   const TrackerOptions& options = {});
Result<std::unique_ptr<DirtyTracker>> make_tracker(std::string_view name, Machine& machine,
                                                   const TrackerOptions& options = {});

// What "auto" means here, in words that can be printed. Value.
struct TrackerChoice {
  std::string name;
  std::string reason;  // One sentence.
  friend bool operator==(const TrackerChoice&, const TrackerChoice&) = default;
};

// Pure: the cheapest available tracker. There is always one, because compare needs nothing.
TrackerChoice choose_tracker(std::span<const Availability> trackers);

}  // namespace stasis::snapshot
