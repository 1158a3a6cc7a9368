// Recording which pages of a restored guest have been touched.
#include "snapshot/working_set.h"

#include <unistd.h>

#include <string>
#include <utility>

#include "session/session_impl.h"

namespace stasis::session::internal {

namespace {

constexpr std::chrono::nanoseconds kPauseTimeout = std::chrono::seconds(10);

Error cannot_record(const std::string& why) {
  return Error{Errc::kInvalidArgument, 0, "record a working set: " + why};
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
  snapshot::FileSystem& files = snapshot::posix_file_system();
  STASIS_ASSIGN(const auto reader, snapshot::SnapshotReader::open(files, parts_.origin->path));
  if (reader->manifest().id != parts_.origin->id) {
    return Error{Errc::kMismatch, 0,
                 "record a working set: '" + parts_.origin->path +
                     "' was replaced since the guest was restored from it"};
  }
  set.snapshot = reader->manifest().id;
  set.root = reader->root();
  set.unit_bytes = static_cast<std::uint32_t>(sysconf(_SC_PAGESIZE));
  set.created_ns = host_clock().wall_ns();
  STASIS_TRY(snapshot::write_working_set(files, *reader, set));
  return report_of(set);
}

}  // namespace stasis::session::internal
