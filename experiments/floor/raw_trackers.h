// The mechanisms behind the dirty trackers, with as little around them as they need: what a tracker
// costs is held against these.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "core/result.h"
#include "experiments/floor/bare_writer.h"

namespace stasis::experiments {

// Resource. Everything is called by one thread, while the guest is not running.
class RawTracker {
 public:
  virtual ~RawTracker() = default;
  virtual Result<void> arm() = 0;
  // How many pages were written since arm() or the last call; they are watched again.
  virtual Result<std::uint64_t> collect() = 0;
};

// The mechanism of the tracker of this name (snapshot/trackers); empty if it has none of its own.
//
//   compare       memcpy of all memory, memcmp of each page, memcpy of those that differ
//   compare-hash  XXH3, 128 bits, of each page
//   zero-scan     a look at each page for anything but zeros
//   residency     a read of the page map
//   userfaultfd   UFFDIO_WRITEPROTECT; a thread that does nothing but answer the faults
//   pagemap-scan  PAGEMAP_SCAN, which protects again as it reports
//   soft-dirty    clear_refs and a read of the page map
//   fork          a fork, and a comparison of both page maps
//   dirty-log, dirty-log-manual, dirty-ring   KVM's requests
std::string_view mechanism_of(std::string_view tracker);

// The log that BareWriter must be made with for it.
KernelLog kernel_log_of(std::string_view mechanism);

// `memory` is the RAM of `writer`; both must outlive the tracker. kInvalidArgument for a name that
// is not in the list; kNotSupported where the host lacks it.
Result<std::unique_ptr<RawTracker>> make_raw_tracker(std::string_view mechanism,
                                                     std::span<std::byte> memory,
                                                     BareWriter& writer);

}  // namespace stasis::experiments
