// Capture: a paused Machine becomes a snapshot on disk.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/capabilities.h"
#include "core/dirty_tracker.h"
#include "core/machine.h"
#include "core/ranges.h"
#include "core/result.h"
#include "snapshot/file_system.h"
#include "snapshot/snapshot_writer.h"

namespace stasis::snapshot {

// What a restore will demand of the host's CPU.
enum class CpuRequirement : std::uint8_t {
  // Every feature that the guest can see. It may have looked and decided to use any of them, now or
  // later, so this is the only safe answer, and the default.
  kVisible,
  // Only those whose registers are enabled in the vCPUs' XCR0 (AVX, AVX-512, ...): for guests that
  // are known to use nothing else. Features without state of their own (BMI, AES) are not seen.
  kStateInUse,
};

// Value.
struct CaptureOptions {
  std::string creator;  // "stasis 0.1.0 (commit, build type)".
  std::vector<Label> labels = {};
  CpuRequirement cpu = CpuRequirement::kVisible;
  WriterOptions writer = {};  // writer.parent decides: null makes a full snapshot.
};

// The features that a snapshot of these vCPUs on this backend needs, sorted. Pure.
std::vector<std::string> required_cpu_features(const Capabilities& capabilities,
                                               const std::vector<VcpuState>& vcpus,
                                               CpuRequirement requirement);

// The pages that changed since the last snapshot that succeeded. A tracker forgets pages when it
// has reported them; whoever fails to save them would lose them, so they are kept here until
// saved() is called. Machine and tracker are borrowed; the Machine must be paused for every call.
// Not thread-safe.
class DirtyAccumulator {
 public:
  DirtyAccumulator(Machine& machine, DirtyTracker& tracker)
      : machine_(machine), tracker_(tracker) {}

  // Tracks from now on; everything is clean.
  Result<void> arm();
  // All pages dirty since arm() or the last saved(). Kept: call saved() when they are safe.
  Result<GpaRanges> collect();
  // The pages that collect() last returned are in a snapshot.
  void saved();
  // `write` gives the pages that collect() last returned the bytes that they had at arm() or the
  // last saved(), by GuestMemory::writable_view(): after it nothing is dirty. On an error all that
  // was dirty still is.
  Result<void> put_back(const std::function<Result<void>()>& write);
  // Nothing is tracked any more, and what was kept is forgotten.
  Result<void> disarm();

  [[nodiscard]] const GpaRanges& unsaved() const noexcept { return unsaved_; }

 private:
  Machine& machine_;
  DirtyTracker& tracker_;
  GpaRanges unsaved_;
};

// Writes all of a paused Machine. kInvalidArgument if it runs or options.writer.parent is set;
// otherwise as Machine::save_state() and SnapshotWriter.
Result<WriteReport> capture_full(Machine& machine, FileSystem& file_system,
                                 const std::string& target, const CaptureOptions& options);

// Writes what changed since options.writer.parent, which must be the snapshot that `dirty` counts
// from. On success the pages count as saved; on failure none is lost, and a later capture takes
// them. Beware of an error after the snapshot became visible (see SnapshotWriter::commit()): the
// pages then are in that snapshot and count as unsaved, which is wasteful but not wrong.
Result<WriteReport> capture_diff(Machine& machine, DirtyAccumulator& dirty, FileSystem& file_system,
                                 const std::string& target, const CaptureOptions& options);

}  // namespace stasis::snapshot
