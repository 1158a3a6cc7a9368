// Session: one guest on one backend, from launch or restore to its end. Composes backend, guest
// loader, doorbell, Machine and snapshots, so that the command line and the experiments say what
// they want and never how it is wired.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/hypervisor.h"
#include "core/machine.h"
#include "core/milestones.h"
#include "core/result.h"
#include "session/options.h"
#include "snapshot/reset/resetter.h"

namespace stasis::session {

// Where a guest stands, as far as its owner has looked.
enum class GuestPhase : std::uint8_t {
  kStarting,  // Not ready yet.
  kReady,     // Warm, held at its ready doorbell or waiting for a request.
  kExited,    // exit_code() has a value.
};

// Threads: all calls from one owner thread. Destroying it stops the guest; it cannot hang.
//
// A guest that fails (unhandled exception, failed self-check, shutdown) makes the waiting call
// return kGuestFault with the guest's own message; a host failure kBackend. After an error other
// than kTimeout and the refusals of save() (kAlreadyExists, kInvalidArgument, kIo) reset() or
// destroy it.
class Session {
 public:
  // Loads the guest and starts it. `backend` must outlive the session. Errors name the guest's
  // file, or the option and the limits that it exceeds.
  static Result<std::unique_ptr<Session>> launch(HypervisorBackend& backend,
                                                 const LaunchOptions& options);
  // Restores a snapshot wholly, or fails and leaves nothing behind. Every byte that the policy
  // reads before the guest runs is validated first.
  static Result<std::unique_ptr<Session>> restore(HypervisorBackend& backend,
                                                  const std::string& snapshot_path,
                                                  const RestoreOptions& options);
  virtual ~Session() = default;

  // Waits until the guest is warm. Returns at once when a restored guest was saved warm. The guest
  // is then held, so that the state saved is the same whenever it is saved. kGuestFault if it
  // exits first.
  virtual Result<void> wait_ready(std::chrono::nanoseconds timeout) = 0;
  // Delivers `bytes` and waits for the answer. kOutOfRange, naming both sizes, if they do not fit
  // into the mailbox. After kTimeout the answer can still be taken by take_response().
  virtual Result<Response> request(std::span<const std::byte> bytes,
                                   std::chrono::nanoseconds timeout) = 0;
  // Waits on for the answer to a request() that timed out.
  virtual Result<Response> take_response(std::chrono::nanoseconds timeout) = 0;
  // After a restore: waits until the guest has executed, so that the milestones are complete; at
  // most `timeout`, after which those that did not come are absent. A guest that was waiting for a
  // request when it was saved has nothing to execute.
  virtual Result<void> settle(std::chrono::nanoseconds timeout) = 0;
  // Runs the guest until it exits, and returns its exit code.
  virtual Result<std::uint64_t> wait_exit(std::chrono::nanoseconds timeout) = 0;
  // Runs the guest until its next checkpoint doorbell; returns the checkpoint's number.
  virtual Result<std::uint64_t> wait_checkpoint(std::chrono::nanoseconds timeout) = 0;

  virtual Result<void> pause(std::chrono::nanoseconds timeout) = 0;
  virtual Result<void> resume() = 0;

  // Writes a snapshot of the guest as it is now; pauses it if it runs, and leaves it paused or
  // running as it was. The directory appears wholly or not at all. kInvalidArgument for a kDiff
  // without a parent.
  virtual Result<SaveReport> save(const std::string& path, const SaveOptions& options) = 0;
  // Rewrites the snapshot that was saved last, or that this session was restored from, as a full
  // one in its place, with the same contents and a new id, while the guest runs on; differential
  // saves build on it. Of `options` it takes how to write. Errors as save(): the snapshot is then
  // as it was. kMismatch if it was replaced meanwhile.
  virtual Result<SaveReport> flatten_parent(const SaveOptions& options) = 0;
  // The two halves of a save() with options.live (without it: kInvalidArgument), for callers that
  // have something to do meanwhile: requests are answered, the guest may be paused and resumed. The
  // first returns when the guest runs on, as it did before. Until the second has returned, what
  // saves, tracks or collects is refused: kInvalidArgument. An error leaves the guest as it was.
  virtual Result<void> begin_live_save(const std::string& path, const SaveOptions& options) = 0;
  // Waits for the end. kInvalidArgument if no live save runs.
  virtual Result<SaveReport> finish_live_save() = 0;
  // Arms a tracker now, against the snapshot this session was restored from or last saved.
  virtual Result<void> track(const std::string& tracker,
                             const snapshot::TrackerOptions& options) = 0;
  // Why "auto" took the tracker that it did, sentence by sentence; empty for a tracker that was
  // named, and before track().
  [[nodiscard]] virtual const std::vector<std::string>& tracker_reasons() const = 0;
  // The pages written since track() or the last save(), whichever came last; pauses a running
  // guest for it. kInvalidArgument unless tracked.
  virtual Result<DirtyReport> dirty() = 0;

  // Puts the guest back to the snapshot that it was restored from or last saved, whatever it has
  // done since, exited and failed included: as after a restore of that with StartMode::kPaused, in
  // place. What was asked and not answered is forgotten; the next request() lets it run. Wants a
  // tracker that was armed before the guest ran (RestoreOptions::tracker, SaveOptions::then_track):
  // kInvalidArgument says so. kNotSupported for Linux guests. After any other error the guest does
  // not run, and is not saved, until another reset() has succeeded: kMismatch if the snapshot was
  // replaced before the first reset to it, those of SnapshotChain::open() and Resetter::reset().
  virtual Result<snapshot::ResetReport> reset() = 0;

  // Stores beside the snapshot that this session was restored from which pages were touched since
  // (snapshot/working_set.h), for later restores with the policy "working-set"; pauses a running
  // guest for it. Wants a restore with the policy "lazy" without huge pages: kInvalidArgument says
  // so. kMismatch if the snapshot was replaced meanwhile; kIo if its directory cannot be written.
  virtual Result<WorkingSetReport> record_working_set() = 0;

  // Stores the pages that were touched since the restore, in order, for policies that fetch in the
  // order of access (snapshot/access_trace.h): beside the snapshot, or as the file `path` if that
  // is not empty. Wants RestoreOptions::record_trace: kInvalidArgument says so. Errors else as
  // those of record_working_set().
  virtual Result<TraceReport> record_trace(const std::string& path) = 0;

  [[nodiscard]] virtual GuestPhase phase() const = 0;
  [[nodiscard]] virtual std::optional<std::uint64_t> exit_code() const = 0;
  // The signal by which a Linux process ended, if that is why a call returned kGuestFault.
  [[nodiscard]] virtual std::optional<int> ending_signal() const = 0;
  [[nodiscard]] virtual bool runs_linux_program() const = 0;
  // All console output since the start (of this session), at most kConsoleBytesMax: the oldest is
  // dropped. Thread-safe.
  [[nodiscard]] virtual std::string console() const = 0;
  static constexpr std::size_t kConsoleBytesMax = std::size_t{1} << 20U;

  // kFirstInstruction is the guest's own time-stamp counter, converted (session/tsc_clock.h);
  // absent where the guest or the backend has none.
  [[nodiscard]] virtual const MilestoneLog& milestones() const = 0;
  // By how much kFirstInstruction may be wrong.
  [[nodiscard]] virtual std::int64_t first_instruction_error_ns() const = 0;
  [[nodiscard]] virtual Result<SessionCounters> counters() = 0;
  // What RestoreOptions::sample_residency found, after the first response or settle(); before, and
  // without the option, nothing.
  [[nodiscard]] virtual const std::optional<ResidencyReport>& residency() const = 0;

  [[nodiscard]] virtual Machine& machine() = 0;  // For experiments and tests.
};

}  // namespace stasis::session
