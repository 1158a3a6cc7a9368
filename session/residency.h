// When the memory of a restored guest became resident: how many of its pages the host had mapped,
// at moments of the restore. What Milestone::kResidentP90 is made of.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/clock.h"
#include "core/guest_memory.h"
#include "core/result.h"

namespace stasis::session {

// One look at all pages, which takes a while: every page counted was resident at `end`, and none
// that became resident before `begin` was missed. Value.
struct ResidencySample {
  MonotonicNs begin = 0;
  MonotonicNs end = 0;
  std::uint64_t resident_pages = 0;
};

// The moment at which a share of the pages that are resident at the end was. Value.
struct ResidencyMoment {
  MonotonicNs at = 0;         // Not later than this...
  std::int64_t error_ns = 0;  // ...and earlier by at most this.
  std::uint64_t pages = 0;    // Resident at the end.
};

// From samples in order, the last of which says what is resident at the end. Nothing if there is no
// sample, or nothing is resident at the end, or fewer pages than at some earlier moment: then the
// host took some away, and shares mean nothing. `restore_begin` bounds the error of a first sample
// that is enough already. Pure.
std::optional<ResidencyMoment> moment_of_share(const std::vector<ResidencySample>& samples,
                                               MonotonicNs restore_begin, std::uint32_t percent);

// Host pages of guest memory that this process has in its page tables: those that a guest, or the
// host, can touch without a fault of the host. The page cache does not count. kNotSupported where
// the host does not tell (other systems than Linux); kIo.
Result<std::uint64_t> resident_pages(const GuestMemory& memory);

// Looks again and again, on a thread of its own, which disturbs what it measures: each look takes
// some milliseconds a GiB, and the host's lock on the process's mappings while it lasts. Resource;
// the memory may go before it does.
class ResidencySampler {
 public:
  // Looks once before it returns, so that what the restore has filled is known, and then every
  // `interval`.
  static Result<std::unique_ptr<ResidencySampler>> start(const GuestMemory& memory,
                                                         std::chrono::nanoseconds interval);
  virtual ~ResidencySampler() = default;
  // Looks for a last time and never again. Once. kIo if any look failed.
  virtual Result<std::vector<ResidencySample>> stop() = 0;
};

}  // namespace stasis::session
