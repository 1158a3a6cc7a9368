// The one implementation of Session. Private to session/; launch.cc and restore.cc make it, saving
// is in save.cc and live_save.cc, resetting in reset.cc, recording in working_set.cc.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "core/dirty_tracker.h"
#include "session/console_buffer.h"
#include "session/guest_port.h"
#include "session/residency.h"
#include "session/session.h"
#include "session/tsc_clock.h"
#include "snapshot/access_trace.h"
#include "snapshot/capture.h"
#include "snapshot/live/live_capture.h"
#include "snapshot/manifest.h"
#include "snapshot/reset/resetter.h"
#include "snapshot/snapshot_chain.h"

namespace stasis::session::internal {

// What a session keeps of the snapshot that a kDiff would have as its parent. Value.
struct Parent {
  std::string path;
  snapshot::SnapshotId id;
};

// The manifest's label that says where the guest stood when it was saved.
inline constexpr std::string_view kPhaseLabel = "phase";
inline constexpr std::string_view kPhaseReady = "ready";
inline constexpr std::string_view kPhaseHeld = "ready-held";  // Ready, and still at that doorbell.

// Where a restored guest stands, by that label. Value.
struct SavedPhase {
  bool is_ready = false;
  bool is_held = false;
};
SavedPhase saved_phase(const snapshot::Manifest& manifest);

// Counters of the process when the session began: its own are the difference. Value.
struct ProcessUsage {
  std::uint64_t minor_faults = 0;
  std::uint64_t major_faults = 0;
  std::int64_t user_cpu_ns = 0;
  std::int64_t system_cpu_ns = 0;
};
ProcessUsage process_usage();

// What the snapshot itself says of a save.
SaveReport report_of(const snapshot::WriteReport& written);

class SessionImpl final : public Session {
 public:
  // What exists before the Machine does.
  struct Parts {
    std::shared_ptr<ConsoleBuffer> console;
    std::unique_ptr<GuestPort> port;
    std::unique_ptr<MilestoneLog> milestones;  // Its address is given to the Machine.
    std::optional<TscAnchor> anchor;           // Taken before the restore began.
    ProcessUsage usage;
    std::vector<snapshot::Label> labels;
    std::optional<Parent> parent;
    bool restored = false;
    bool saved_ready = false;                   // Restored from a snapshot whose guest was warm.
    bool will_ring = false;                     // Runs to a doorbell by itself, without a request.
    std::unique_ptr<ResidencySampler> sampler;  // Until the first response.
    std::optional<Parent> origin;               // What it was restored from.
    bool shows_touches = false;                 // What is resident is what the guest has touched.
    std::uint64_t filled_bytes = 0;             // By the restore.
    std::uint64_t mappings = 0;
    std::uint64_t fetched_bytes = 0;
    std::vector<PopulatePiece> to_populate;  // With the first request.
    std::unique_ptr<snapshot::AccessRecorder> recorder;
  };
  SessionImpl(Parts parts, std::unique_ptr<Machine> machine);
  ~SessionImpl() override;
  SessionImpl(const SessionImpl&) = delete;
  SessionImpl& operator=(const SessionImpl&) = delete;

  Result<void> wait_ready(std::chrono::nanoseconds timeout) override;
  Result<Response> request(std::span<const std::byte> bytes,
                           std::chrono::nanoseconds timeout) override;
  Result<Response> take_response(std::chrono::nanoseconds timeout) override;
  Result<void> settle(std::chrono::nanoseconds timeout) override;
  Result<std::uint64_t> wait_exit(std::chrono::nanoseconds timeout) override;
  Result<std::uint64_t> wait_checkpoint(std::chrono::nanoseconds timeout) override;
  Result<void> pause(std::chrono::nanoseconds timeout) override;
  Result<void> resume() override;
  Result<SaveReport> save(const std::string& path, const SaveOptions& options) override;
  Result<SaveReport> flatten_parent(const SaveOptions& options) override;
  Result<void> begin_live_save(const std::string& path, const SaveOptions& options) override;
  Result<SaveReport> finish_live_save() override;
  Result<void> track(const std::string& tracker, const snapshot::TrackerOptions& options) override;
  [[nodiscard]] const std::vector<std::string>& tracker_reasons() const override {
    return tracker_reasons_;
  }
  Result<DirtyReport> dirty() override;
  Result<snapshot::ResetReport> reset() override;
  Result<WorkingSetReport> record_working_set() override;
  Result<TraceReport> record_trace(const std::string& path) override;

  [[nodiscard]] GuestPhase phase() const override { return phase_; }
  [[nodiscard]] std::optional<std::uint64_t> exit_code() const override { return exit_code_; }
  [[nodiscard]] std::optional<int> ending_signal() const override { return ending_signal_; }
  [[nodiscard]] bool runs_linux_program() const override {
    return parts_.port->linux_process() != nullptr;
  }
  [[nodiscard]] std::string console() const override { return parts_.console->text(); }
  [[nodiscard]] const MilestoneLog& milestones() const override { return *parts_.milestones; }
  [[nodiscard]] std::int64_t first_instruction_error_ns() const override {
    return first_instruction_error_ns_;
  }
  [[nodiscard]] Result<SessionCounters> counters() override;
  [[nodiscard]] const std::optional<ResidencyReport>& residency() const override {
    return residency_;
  }
  [[nodiscard]] Machine& machine() override { return *machine_; }

  // The guest was started without release(): as good as resume().
  void note_running() { ran_since_parent_ = true; }

 private:
  // Waits for one event, at most until `deadline`, and takes note of it. An event that ends the
  // guest badly is an Error.
  Result<void> take_event(MonotonicNs deadline);
  Result<void> note(const MachineEvent& event);
  // Brings in what the restore's plan says, until something happens: the thread would only wait.
  Result<void> populate();
  // Lets the guest run if it is paused, or held at a doorbell that ended a phase.
  Result<void> release();
  // How the guest's counter follows from the host's; nothing where that cannot be told.
  [[nodiscard]] std::optional<CounterRelation> counter_relation();
  // Records kFirstInstruction if the guest has executed since the restore.
  void note_first_instruction();
  // Ends the sampling of residency, if there is any, and records kResidentP90: not later than `at`,
  // since when the guest has touched nothing.
  Result<void> note_residency(MonotonicNs at);
  [[nodiscard]] Error exited_instead(std::string_view of_what) const;

  [[nodiscard]] snapshot::CaptureOptions capture_options(const SaveOptions& options) const;
  Result<SaveReport> save_paused(const std::string& path, const SaveOptions& options);
  Result<std::unique_ptr<snapshot::SnapshotChain>> open_parent(const std::string& purpose) const;
  Result<snapshot::WriteReport> write_diff(const std::string& path,
                                           snapshot::CaptureOptions& capture);
  // kInvalidArgument unless there is a snapshot that a kDiff at `path` could be of.
  [[nodiscard]] Result<void> check_has_parent(const std::string& path) const;
  Result<void> stop_tracking();
  [[nodiscard]] Result<void> check_can_reset() const;
  Result<void> prepare_reset();
  // kInvalidArgument while a live save runs: `what` would disturb it.
  [[nodiscard]] Result<void> check_no_live_save(std::string_view what) const;

  // What resets are made with. Borrows the accumulator.
  struct Reset {
    snapshot::SnapshotId to;
    SavedPhase phase;
    std::unique_ptr<snapshot::Resetter> resetter = {};
  };

  // A live save under way. The capture borrows the chain.
  struct LiveSave {
    SaveOptions options;
    std::unique_ptr<snapshot::SnapshotChain> parent;
    bool ran_since_parent = false;  // As it was before.
    std::unique_ptr<snapshot::LiveCapture> capture;
  };

  // Owner thread only.
  Parts parts_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<DirtyTracker> tracker_;  // Armed, if there is one. Destroyed before the Machine,
  std::optional<snapshot::DirtyAccumulator> accumulator_;  // and this before the tracker.
  std::optional<LiveSave> live_;                           // Destroyed before those,
  std::optional<Reset> reset_;                             // and this.
  std::vector<std::string> tracker_reasons_;
  std::int64_t arm_ns_ = 0;
  bool ran_since_parent_ = false;  // The guest, or a request, may have changed its memory.
  bool missed_writes_ = false;     // The tracker was armed after that.
  GuestPhase phase_ = GuestPhase::kStarting;
  bool held_ = false;  // At kReady, kCheckpoint or kExit; resume() goes on.
  std::optional<std::uint64_t> exit_code_;
  std::optional<int> ending_signal_;
  std::optional<ResidencyReport> residency_;
  std::deque<std::uint64_t> checkpoints_;
  std::deque<MonotonicNs> responded_;  // When the doorbell of each response not taken rang.
  std::deque<MonotonicNs> requested_;  // When each request without an answer was posted.
  std::uint64_t requests_ = 0;
  std::uint64_t populated_bytes_ = 0;
  std::int64_t first_instruction_error_ns_ = 0;
};

}  // namespace stasis::session::internal
