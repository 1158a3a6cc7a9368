// Recording which pages of a restored guest have been touched, and in which order.
#include "snapshot/working_set.h"

#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "session/session_impl.h"

namespace stasis::session::internal {

namespace {

constexpr std::chrono::nanoseconds kPauseTimeout = std::chrono::seconds(10);

Error cannot_record(const std::string& why) {
  return Error{Errc::kInvalidArgument, 0, "record a working set: " + why};
}

// The snapshot that the guest was restored from, if that is still what its name means.
Result<std::unique_ptr<snapshot::SnapshotReader>> open_origin(const Parent& origin) {
  STASIS_ASSIGN(auto reader,
                snapshot::SnapshotReader::open(snapshot::posix_file_system(), origin.path));
  if (reader->manifest().id != origin.id) {
    return Error{Errc::kMismatch, 0,
                 "'" + origin.path + "' was replaced since the guest was restored from it"};
  }
  return reader;
}

WorkingSetReport report_of(const snapshot::WorkingSet& set) {
  WorkingSetReport report{.runs = set.pieces.size()};
  for (const PopulatePiece& piece : set.pieces) {
    (piece.access == PopulateFor::kWriting ? report.written_bytes : report.read_bytes) +=
        piece.range.size;
  }
  return report;
}

}  // namespace

Result<WorkingSetReport> SessionImpl::record_working_set() {
  STASIS_TRY(check_no_live_save("record a working set"));
  if (!parts_.origin) {
    return cannot_record("this guest was not restored from a snapshot");
  }
  if (!parts_.shows_touches) {
    return cannot_record(
        "what is in memory is not what the guest has touched; restore with the policy lazy and "
        "--huge-pages never");
  }
  const bool resume_after = !machine_->is_paused() && !held_;
  STASIS_TRY(machine_->pause(kPauseTimeout));
  snapshot::WorkingSet set;
  STASIS_ASSIGN(set.pieces, snapshot::find_touched(machine_->memory()));
  if (resume_after) {
    STASIS_TRY(resume());
  }
  const auto reader = open_origin(*parts_.origin);
  if (!reader) {
    return Error(reader.error()).with_context("record a working set");
  }
  set.snapshot = (*reader)->manifest().id;
  set.root = (*reader)->root();
  set.unit_bytes = static_cast<std::uint32_t>(sysconf(_SC_PAGESIZE));
  set.created_ns = host_clock().wall_ns();
  STASIS_TRY(snapshot::write_working_set(snapshot::posix_file_system(), **reader, set));
  return report_of(set);
}

Result<TraceReport> SessionImpl::record_trace(const std::string& path) {
  if (parts_.recorder == nullptr) {
    return Error{Errc::kInvalidArgument, 0,
                 "record an access trace: the restore was not asked to take note of touches"};
  }
  snapshot::AccessTrace trace;
  STASIS_ASSIGN(trace.accesses, parts_.recorder->accesses());
  const auto reader = open_origin(*parts_.origin);
  if (!reader) {
    return Error(reader.error()).with_context("record an access trace");
  }
  trace.snapshot = (*reader)->manifest().id;
  trace.root = (*reader)->root();
  trace.unit_bytes = static_cast<std::uint32_t>(sysconf(_SC_PAGESIZE));
  trace.created_ns = host_clock().wall_ns();
  snapshot::FileSystem& files = snapshot::posix_file_system();
  if (path.empty()) {
    STASIS_TRY(snapshot::write_trace(files, **reader, trace));
  } else {
    const snapshot::SplitPath split = snapshot::split_path(path);
    STASIS_TRY(snapshot::write_trace_file(files, split.parent, split.name, trace));
  }
  TraceReport report{.accesses = trace.accesses.size()};
  for (const snapshot::PageAccess& access : trace.accesses) {
    (access.access == PopulateFor::kWriting ? report.written_bytes : report.read_bytes) +=
        trace.unit_bytes;
  }
  return report;
}

}  // namespace stasis::session::internal
