// An access trace: the guest pages that a run from a snapshot touched, in the order of their first
// touches, as the pager saw them (snapshot/restore/pager.h). A working set (working_set.h) is the
// same without order and time.
//
// It lies beside the snapshot in a file of its own and is bound to its content, or is a file
// elsewhere, to be compared. It decides about time alone: one that is missing, damaged or another
// snapshot's is ignored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/mutex.h"
#include "core/populate.h"
#include "core/result.h"
#include "snapshot/file_system.h"
#include "snapshot/manifest.h"
#include "snapshot/snapshot_reader.h"

namespace stasis::snapshot {

inline constexpr std::string_view kTraceFile = "trace.capnp";
inline constexpr std::uint32_t kTraceVersion = 1;
inline constexpr std::uint64_t kTraceBytesMax = std::uint64_t{64} << 20U;
inline constexpr std::uint32_t kTraceAccessesMax = std::uint32_t{1} << 20U;

// The numbers are written to files.
enum class TracePhase : std::uint8_t {
  kRestore = 0,  // Before a vCPU could run.
  kStart = 1,    // The guest runs, and no request has been posted.
  kRequest = 2,  // Since the first request was posted.
};
std::string_view name_of(TracePhase phase);

// Value.
struct PageAccess {
  Gpa page;
  std::int64_t at_ns = 0;  // Since the recording began.
  PopulateFor access = PopulateFor::kReading;
  TracePhase phase = TracePhase::kRestore;
  friend bool operator==(const PageAccess&, const PageAccess&) = default;
};

// Value.
struct AccessTrace {
  SnapshotId snapshot;
  ContentRoot root;
  std::uint32_t unit_bytes = 4096;   // Of each access: the recording host's page.
  std::int64_t created_ns = 0;       // Unix time.
  std::vector<PageAccess> accesses;  // Each page once; times never go back.
  friend bool operator==(const AccessTrace&, const AccessTrace&) = default;
};

// One piece a page, in order: what a policy takes.
std::vector<PopulatePiece> pieces_of(const AccessTrace& trace);

// What two recordings have in common. Value.
struct TraceComparison {
  std::uint64_t common = 0;  // Pages.
  std::uint64_t only_in_a = 0;
  std::uint64_t only_in_b = 0;
  std::uint64_t written_otherwise = 0;  // Common, but first read in one and first written in one.
  std::uint64_t common_prefix = 0;      // Accesses, from the first on, to the same pages.
  friend bool operator==(const TraceComparison&, const TraceComparison&) = default;
};
// kMismatch if their units differ.
Result<TraceComparison> compare_traces(const AccessTrace& a, const AccessTrace& b);

// kInvalidArgument, naming the rule, for one that breaks those above.
Result<std::vector<std::byte>> encode_trace(const AccessTrace& trace);
// kCorruption, naming the field; kNotSupported for a later version. Safe for any bytes.
Result<AccessTrace> decode_trace(std::span<const std::byte> file);

// Nothing if there is none beside `snapshot`. kCorruption, kNotSupported and kIo, naming the file;
// kMismatch for one of another snapshot, or one that leaves this snapshot's memory.
Result<std::optional<AccessTrace>> read_trace(FileSystem& file_system,
                                              const SnapshotReader& snapshot);
// Of any snapshot, from the file `path`, or beside the snapshot in the directory `path`. kNotFound.
Result<AccessTrace> read_trace_file(FileSystem& file_system, const std::string& path);
// Puts it beside `snapshot`, or at `directory`/`name`, in the place of what is there: a reader
// finds the old file or the new one. kIo names the file; nothing is left behind then.
Result<void> write_trace(FileSystem& file_system, const SnapshotReader& snapshot,
                         const AccessTrace& trace);
Result<void> write_trace_file(FileSystem& file_system, const std::string& directory,
                              std::string_view name, const AccessTrace& trace);

// Takes note of accesses while a guest runs. Thread-safe.
class AccessRecorder {
 public:
  AccessRecorder();
  // A page that was noted before is not noted again.
  void note(Gpa page, PopulateFor access);
  // Of what is noted from now on.
  void begin_phase(TracePhase phase);
  // What was noted so far. kOutOfRange if there was more than kTraceAccessesMax.
  [[nodiscard]] Result<std::vector<PageAccess>> accesses() const;

 private:
  const MonotonicNs begin_;
  mutable Mutex mutex_;
  TracePhase phase_ STASIS_GUARDED_BY(mutex_) = TracePhase::kRestore;
  std::vector<PageAccess> accesses_ STASIS_GUARDED_BY(mutex_);
};

}  // namespace stasis::snapshot
