// A live capture beside a stop-the-world one of the same moment: they must be equal in every byte
// of memory, every register and every device.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "snapshot/live/live_capture.h"
#include "snapshot/operations.h"
#include "tests/snapshot/memory_file_system.h"

namespace stasis::snapshot::testing {

class LiveCase {
 public:
  // Each capture begins to write when somebody has met a frozen page, so that none is a still one
  // by chance. `machine` is borrowed; while it captures, somebody in it must write for ever.
  explicit LiveCase(Machine& machine);

  MemoryFileSystem& files() { return files_; }
  // Of a guest that does not write by itself: begin at once.
  void do_not_wait_for_writes() { waits_for_writes_ = false; }

  // What the next capture is asked for, all but the moment itself.
  LiveOptions live = {};
  DirtyAccumulator* dirty = nullptr;
  DirtyTracker* tracker = nullptr;
  // While the capture runs: after begin(), before finish().
  std::function<void()> meanwhile = {};

  // A full live capture and a full stop-the-world one, compared. An error of either is one here.
  Result<DiffReport> full_pair();
  // A parent for diff_pair(); arms the tracker behind it.
  Result<void> save_parent();
  // A differential live capture and a full stop-the-world one, compared over the parent. The live
  // one is the parent of the next.
  Result<CompletenessReport> diff_pair();

  [[nodiscard]] const LiveReport& last() const { return last_; }
  [[nodiscard]] static CaptureOptions options(const SnapshotChain* parent);

 private:
  Result<void> capture(const std::string& target, const std::string& beside,
                       const SnapshotChain* parent);

  Machine& machine_;
  MemoryFileSystem files_;
  std::string parent_;
  std::uint32_t count_ = 0;
  bool waits_for_writes_ = true;
  std::atomic<const LiveCapture*> running_ = nullptr;
  std::atomic<bool> over_ = true;  // Nothing to wait for.
  LiveReport last_;
};

// How many captures a case makes: STASIS_LIVE_CAPTURES, for more than a quick look, or `few`.
std::uint32_t live_captures(std::uint32_t few);

}  // namespace stasis::snapshot::testing
