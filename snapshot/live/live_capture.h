// Live capture: a snapshot of one moment, for which the guest stands still only while its vCPUs and
// devices are saved and memory is armed; it runs while its pages are written.
//
// The snapshot is what a stop-the-world one of that moment would be, byte for byte. It is published
// as every snapshot is, wholly or not at all; a capture that fails or is given up leaves no trace,
// in the guest either. docs/live-capture.md tells how.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/host_thread.h"
#include "core/machine.h"
#include "core/mutex.h"
#include "core/result.h"
#include "snapshot/capture.h"
#include "snapshot/live/live_options.h"

namespace stasis::snapshot {

namespace internal {
class FrozenMemory;
}  // namespace internal

// Value.
struct LiveRequest {
  std::string target;
  // writer.parent makes a differential snapshot, of what `dirty` has collected; borrowed until
  // finish(), and so is writer.supervision.cancel. writer.supervision.progress is called on threads
  // of the capture's own.
  CaptureOptions capture = {};
  LiveOptions live = {};
  // Whose pages the snapshot contains, and its tracker; both or neither. Collected in the pause. As
  // of capture_diff(), and of use beside a full snapshot, too: what was dirty before is in it.
  // Borrowed until finish(); nobody may collect meanwhile.
  DirtyAccumulator* dirty = nullptr;
  DirtyTracker* tracker = nullptr;
  // In the pause, when memory is frozen: for whoever compares. Lengthens the pause. May be empty.
  std::function<Result<void>()> at_the_moment = {};
};

// Value.
struct LiveReport {
  WriteReport written;
  std::string mechanism;
  LivePause pause;
  LiveCounters counters;
  std::int64_t write_ns = 0;  // From the end of the pause until the snapshot was published.
};

// One capture under way. Resource; the destructor gives it up if it has not been finished. All
// calls from the Machine's owner. The Machine may be paused, resumed and asked as ever meanwhile,
// but its tracker must neither collect nor be armed or disarmed.
class LiveCapture {
 public:
  // Returns when the guest runs on (a paused Machine stays paused) and its pages are being written.
  // On an error the guest is as it was. kInvalidArgument (options that contradict each other, no
  // such mechanism, another capture of this guest), kNotSupported (no mechanism works with this
  // backend, memory and tracker: reason and cure), else as Machine::pause() and SnapshotWriter.
  static Result<std::unique_ptr<LiveCapture>> begin(Machine& machine, FileSystem& file_system,
                                                    LiveRequest request);
  ~LiveCapture();
  LiveCapture(const LiveCapture&) = delete;
  LiveCapture& operator=(const LiveCapture&) = delete;
  LiveCapture(LiveCapture&&) = delete;
  LiveCapture& operator=(LiveCapture&&) = delete;

  [[nodiscard]] const std::string& target() const noexcept { return request_.target; }
  // The page writing has ended, well or not: finish() will not wait.
  [[nodiscard]] bool is_done();
  [[nodiscard]] std::string_view mechanism() const;
  // So far; of "fork" there is nothing to count. Any thread.
  [[nodiscard]] LiveCounters counters() const;
  // The capture fails soon, if it has not been published.
  void cancel() noexcept { cancelled_.store(true, std::memory_order_relaxed); }
  // Waits for the end. Once. Of a mechanism that works by ExitWriteProtected it pauses the guest
  // again, for as long as its vCPUs take to come out. As SnapshotWriter::commit(); kIo when the
  // guest was too fast for WhenFull::kAbort, or "cancelled"; kTimeout when write faults were not
  // answered.
  Result<LiveReport> finish();

 private:
  LiveCapture(Machine& machine, LiveRequest request);
  // Takes note of a wish to stop from outside.
  void look_outside() noexcept;
  Result<void> check_request() const;
  Result<void> start(FileSystem& file_system);
  Result<void> stand_still(SnapshotWriter& writer);
  void write(SnapshotWriter writer);
  Result<WriteReport> write_all(SnapshotWriter writer);
  Result<void> take_handler_away();

  // Constant once begin() has returned.
  Machine& machine_;
  LiveRequest request_;
  const std::atomic<bool>* cancel_from_outside_ = nullptr;
  std::unique_ptr<internal::FrozenMemory> frozen_;  // Thread-safe.
  GpaRanges ranges_;                                // To be written.
  LivePause pause_;
  // Relaxed: carries no data, only the wish to stop.
  std::atomic<bool> cancelled_ = false;
  Mutex mutex_;
  ConditionVariable ended_;
  std::optional<Result<WriteReport>> outcome_ STASIS_GUARDED_BY(mutex_);
  std::int64_t write_ns_ STASIS_GUARDED_BY(mutex_) = 0;
  // The owner's.
  bool has_handler_ = false;
  HostThread thread_;  // Last: it ends before what it uses.
};

}  // namespace stasis::snapshot
