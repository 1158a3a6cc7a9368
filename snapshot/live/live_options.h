// What a live capture is asked for and what it answers: plain values.
#pragma once

#include <cstdint>
#include <string>

namespace stasis::snapshot {

// What happens to a guest that writes faster than the snapshot is written, once the buffer of the
// pages that it has overwritten is full.
enum class WhenFull : std::uint8_t {
  kSlow,   // Whoever writes to a page that is not saved yet waits until it is, or until there is
           // room. Nothing is lost; the guest is as slow as the storage.
  kAbort,  // The capture fails and leaves nothing; the guest runs on at once.
};

// Value.
struct LiveOptions {
  std::string mechanism = "auto";  // A name of snapshot/live/mechanism_catalog.h.
  // How much of the guest is kept aside at most: what it has overwritten and the writer has not
  // come to. At least one page; not of the mechanism "fork", whose copies the kernel keeps.
  std::uint64_t buffer_bytes = std::uint64_t{64} << 20U;
  WhenFull when_full = WhenFull::kSlow;
};

// What a live capture cost the guest. Value.
struct LiveCounters {
  std::uint64_t write_faults = 0;       // Writes, of the guest or the host, that met a frozen page.
  std::uint64_t copied_bytes = 0;       // Kept aside before they were overwritten, in all.
  std::uint64_t copied_peak_bytes = 0;  // At a time.
  std::uint64_t waits = 0;              // Of write_faults: had to wait for room.
};

// Where the pause went. Value.
struct LivePause {
  std::int64_t prepare_ns = 0;  // Before the pause: protecting memory while the guest runs.
  std::int64_t paused_ns = 0;   // From asking the vCPUs out until they were let in again.
  std::int64_t stop_ns = 0;     // Of that: until all were out.
  std::int64_t state_ns = 0;    // vCPUs and devices.
  std::int64_t collect_ns = 0;  // The dirty pages.
  std::int64_t freeze_ns = 0;   // Arming the copy before write.
};

}  // namespace stasis::snapshot
