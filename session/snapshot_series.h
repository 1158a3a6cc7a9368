// A guest saved again and again while it runs: what `--save-every` does.
//
// The first snapshot of a series is full; each other is a difference on the one before it, found by
// a tracker that stays armed. When a chain has become expensive (snapshot/series.h has the rule)
// its newest member is rewritten as a full one while the guest runs. What is neither among the
// newest `keep` nor needed by them is removed, after the new one is in place.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/result.h"
#include "session/disposal.h"
#include "session/options.h"
#include "session/session.h"
#include "snapshot/series.h"

namespace stasis::session {

// Value.
struct SeriesOptions {
  // Holds the snapshots, named 000001, 000002, ... Made if it is not there.
  std::string directory;
  snapshot::SeriesRules rules = {};
  std::string tracker = "auto";
  snapshot::TrackerOptions tracker_options = {};
  // How to write. replace_existing: a series in the directory is continued, behind its last number,
  // and its members go as new ones come; otherwise the directory must be empty.
  SaveOptions save = {};
};

// What a series did so far. Value.
struct SeriesReport {
  std::string newest;  // Path; empty before the first save.
  std::uint32_t kept = 0;
  std::uint32_t saved = 0, flattened = 0, removed = 0;
  std::uint64_t saved_bytes = 0;      // By saves.
  std::uint64_t flattened_bytes = 0;  // By flattening.
  // Of the snapshots that are there now, without the files, of four at most, that are being freed.
  std::uint64_t disk_bytes = 0;
  std::uint64_t disk_bytes_max = 0;     // At any time, with what was being written.
  std::vector<std::int64_t> paused_ns;  // Of the guest, by each save.
  std::int64_t flatten_ns = 0;          // Of all flattening together.
};

// Whether a series could begin there: asked before a guest is warmed up. kAlreadyExists, kNotFound
// (no directory to make it in), kIo (not writable), kInvalidArgument (impossible rules).
Result<void> check_series(const SeriesOptions& options);

// One thread, the session's owner. Files are freed beside it; destruction waits for that.
class SnapshotSeries {
 public:
  // Saves nothing yet. `session` is borrowed. Errors: those of check_series(), and of reading what
  // is continued.
  static Result<std::unique_ptr<SnapshotSeries>> begin(Session& session, SeriesOptions options);

  // Saves, and flattens and removes what is due. After an error everything that was kept is still
  // there, and the guest is unharmed.
  Result<SaveReport> save();

  [[nodiscard]] const SeriesReport& report() const noexcept { return report_; }

 private:
  SnapshotSeries(Session& session, SeriesOptions options, std::unique_ptr<Disposal> disposal);
  [[nodiscard]] std::string path_of(std::uint64_t number) const;
  Result<void> flatten_newest();
  Result<void> remove_old();
  void note_disk(std::uint64_t being_written_bytes);

  Session& session_;
  SeriesOptions options_;
  std::unique_ptr<Disposal> disposal_;
  std::vector<snapshot::SeriesMember> members_;
  bool begun_ = false;  // The session's parent is the last member.
  SeriesReport report_;
};

}  // namespace stasis::session
