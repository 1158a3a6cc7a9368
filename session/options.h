// What a Session is asked for and what it answers: plain values.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/device.h"
#include "core/guest_memory.h"
#include "core/machine.h"
#include "guests/linux/vm/process.h"
#include "snapshot/live/live_options.h"
#include "snapshot/manifest.h"
#include "snapshot/policies/policy_catalog.h"
#include "snapshot/snapshot_writer.h"
#include "snapshot/trackers/tracker_catalog.h"

namespace stasis::session {

// Where console output came from. A bare guest has one console, kOutput.
enum class ConsoleStream : std::uint8_t {
  kOutput,
  kErrors,  // Standard error of a Linux program.
};
// Receives console output as the guest writes it, on a vCPU's thread. May be empty.
using ConsoleSink = std::function<void(ConsoleStream stream, std::string_view bytes)>;

// A Linux program as the guest (docs/linux-guests.md). Value.
struct LinuxOptions {
  std::string program;  // Host path.
  // What the guest may read: host files, and folders with all below them. They must exist.
  std::vector<std::string> allow_read = {};
  std::vector<std::string> environment = {};  // "NAME=value"
  std::string working_directory = "/";
  std::uint64_t layout_seed = 0;  // Where things lie in its address space.
};

// An arm64 Linux kernel as the guest (docs/arm64-linux.md). Value.
struct KernelOptions {
  std::string kernel, initrd;  // Host paths. Empty: those that scripts/fetch-linux-arm64 has made.
  std::string command_line = {};  // Behind what every guest gets.
};

// Files of a Linux guest that are not what they were when it was saved.
enum class StaleFiles : std::uint8_t { kRefuse, kAccept };

// A guest to be started. Value.
struct LaunchOptions {
  // A name or a path as guests::find_guest() takes it, or "toy:NAME" for a program of the mock
  // backend (session/toy_guests.h).
  std::string guest = {};
  std::optional<LinuxOptions> linux_program = {};  // Instead of `guest`.
  std::optional<KernelOptions> kernel = {};        // Likewise.
  std::vector<std::string> arguments = {};         // Without the program's name.
  std::uint64_t memory_bytes = std::uint64_t{256} << 20U;
  std::uint32_t vcpus = 1;
  BackingKind backing = BackingKind::kAnonymous;
  HugePages huge_pages = HugePages::kTransparent;
  std::vector<int> host_cpus = {};  // See MachineConfig.
  // What Session::track() will be asked for, if that is known: some trackers (dirty-ring) need a VM
  // that was made for them. Nothing is armed. Empty: a VM for every other tracker.
  std::string tracker = {};
  snapshot::TrackerOptions tracker_options = {};
  ConsoleSink console = {};
};

// A snapshot to be restored. Value.
struct RestoreOptions {
  std::string policy = "lazy";  // As snapshot::load_policy() takes it, or "auto".
  snapshot::PolicyOptions policy_options = {};
  // A tracker (snapshot/trackers) to arm before the guest runs: makes save(kDiff) cheap. Empty:
  // none, and the guest starts a little earlier.
  std::string tracker = {};
  snapshot::TrackerOptions tracker_options = {};
  StartMode start = StartMode::kRunning;
  std::optional<MonotonicNs> spawned_at = {};  // The caller's clock, for Milestone::kSpawn.
  std::optional<MonotonicNs> begin_at = {};    // For Milestone::kBegin; nothing: now.
  std::vector<int> host_cpus = {};
  StaleFiles stale_files = StaleFiles::kRefuse;
  ConsoleSink console = {};
  // How often to look which pages are resident, for Milestone::kResidentP90 (session/residency.h).
  // It disturbs the restore, so nothing, the default, is right wherever a latency is quoted.
  std::optional<std::chrono::nanoseconds> sample_residency = {};
  // Of the memory that is filled before the guest runs. Called on the calling thread.
  std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)> progress = {};
  // When this becomes true before the guest runs, the restore stops soon, leaves nothing and fails
  // with kIo. Borrowed, may be null.
  const std::atomic<bool>* cancel = nullptr;
  // Takes note of first touches for Session::record_trace(). Needs a policy whose memory is missing
  // until it is touched, page by page, and that brings in nothing before: "uffd".
  bool record_trace = false;
  // Why "auto" has chosen what it has, sentence by sentence. May be empty.
  std::function<void(const std::string& reason)> explain = {};
  // What the restore goes on without: a working set that cannot be used. May be empty.
  std::function<void(const std::string& message)> warn = {};
};

enum class SaveKind : std::uint8_t {
  kFull,
  kDiff,  // Only what changed since the snapshot that this session was restored from or last saved.
};

// How a snapshot is written. Value.
struct SaveOptions {
  SaveKind kind = SaveKind::kFull;
  snapshot::Layout layout = snapshot::Layout::kMappable;
  snapshot::Codec codec = snapshot::Codec::kNone;
  std::uint32_t chunk_bytes = 64U << 10U;
  std::uint32_t threads = 2;
  bool replace_existing = false;  // Otherwise kAlreadyExists.
  // Of the snapshot that is replaced. Empty: by save(), when the guest runs again.
  snapshot::Dispose dispose = {};
  // kDiff: a full snapshot of the same pause, too, for snapshot::verify_diff(); the next kDiff is
  // still on the differential one. If only this fails, so does the save. Empty: none.
  std::string full_copy = {};
  bool sync = true;  // false: visible atomically, but not durable; for experiments.
  std::vector<snapshot::Label> labels = {};
  // A live capture: the guest stands still only for the state of vCPUs and devices and for arming,
  // and runs on while its pages are written. A kDiff then wants a tracker. Nothing: it stands still
  // for all of the save.
  std::optional<snapshot::LiveOptions> live = {};
  // Arm this tracker after the save, so that a kDiff on this snapshot can follow. Empty: none.
  std::string then_track = {};
  snapshot::TrackerOptions tracker_options = {};
  // Of a live save, on threads of its own.
  std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)> progress = {};
  // When this becomes true the save stops soon, removes what it wrote and fails with kIo. Borrowed,
  // may be null.
  const std::atomic<bool>* cancel = nullptr;
};

// What is only true of a live save. Value.
struct LiveSaveReport {
  std::string mechanism;
  snapshot::LivePause pause;
  snapshot::LiveCounters counters;
};

// What a save did. Value.
struct SaveReport {
  snapshot::SnapshotId id;
  std::uint64_t memory_bytes = 0;   // Of the guest.
  std::uint64_t dirty_bytes = 0;    // Considered for writing: all of them in a full snapshot.
  std::uint64_t zero_bytes = 0;     // Found to be zero, not stored.
  std::uint64_t written_bytes = 0;  // All files of the snapshot.
  std::int64_t paused_ns = 0;       // How long the guest could not run because of the save.
  std::int64_t write_ns = 0;        // Finding the dirty pages and writing, until published.
  std::optional<LiveSaveReport> live = {};  // Then write_ns began when the guest went on.
};

// What record_working_set() stored. Value.
struct WorkingSetReport {
  std::uint64_t written_bytes = 0;  // Of pages that became the process's own.
  std::uint64_t read_bytes = 0;     // Of others, with what the host mapped around them.
  std::uint64_t runs = 0;
};

// What record_trace() stored. Value.
struct TraceReport {
  std::uint64_t accesses = 0;       // First touches, each of one page.
  std::uint64_t written_bytes = 0;  // Of pages whose first touch was a write.
  std::uint64_t read_bytes = 0;     // Of others.
};

// What a tracker found. Value.
struct DirtyReport {
  std::string tracker;  // By name: of "auto", what it chose.
  GpaRanges pages;
  std::int64_t arm_ns = 0;      // The last arm() that made this possible.
  std::int64_t collect_ns = 0;  // This collect().
};

// An answer of the guest. Value.
struct Response {
  std::vector<std::byte> bytes = {};
  MonotonicNs requested_at = 0;
  MonotonicNs responded_at = 0;  // When the host saw the doorbell.
};

// What sampling the residency of a restored guest's memory found. Value.
struct ResidencyReport {
  std::uint64_t samples = 0;
  std::uint64_t page_bytes = 0;      // Of the host.
  std::uint64_t resident_pages = 0;  // At the first response, or at settle() if none was asked for.
  // kResidentP90 may have come earlier by this much; nothing if there is no such moment.
  std::optional<std::int64_t> error_ns = {};
};

// What a Linux guest asked of its kernel since the session began. Value.
struct LinuxCounters {
  linux_guest::vm::LinuxProcess::Counters traps;
  std::vector<linux_guest::SyscallCount> calls;  // Most calls first.
};

// Totals for run records. Value.
struct SessionCounters {
  Machine::Counters machine;
  std::uint64_t requests = 0;
  std::uint64_t minor_faults = 0;  // Of this process since the session began.
  std::uint64_t major_faults = 0;
  std::uint64_t filled_bytes = 0;     // Copied or decompressed before a restored guest ran.
  std::uint64_t mappings = 0;         // Of snapshot files, laid down by the restore.
  std::uint64_t populated_bytes = 0;  // Brought in for a working set.
  std::uint64_t fetched_bytes = 0;    // That the restore's plan fetches before they are touched.
  std::int64_t user_cpu_ns = 0;
  std::int64_t system_cpu_ns = 0;
  std::optional<LinuxCounters> linux_guest = {};  // Of a Linux guest.
};

std::string_view name_of(SaveKind kind);

}  // namespace stasis::session
