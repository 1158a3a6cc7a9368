// Saving a session: what is dirty, who the parent is, and the guest paused for as short as that
// takes.
#include <utility>

#include "session/build_info.h"
#include "session/parent_compare.h"
#include "session/session_impl.h"
#include "snapshot/capture.h"
#include "snapshot/operations.h"
#include "snapshot/snapshot_chain.h"
#include "snapshot/trackers/tracker_auto.h"

namespace stasis::session::internal {

namespace {

constexpr std::chrono::nanoseconds kPauseTimeout = std::chrono::seconds(10);

std::string phase_label(GuestPhase phase) {
  switch (phase) {
    case GuestPhase::kStarting:
      return "starting";
    case GuestPhase::kReady:
      return std::string(kPhaseReady);
    case GuestPhase::kExited:
      return "exited";
  }
  return "starting";
}

}  // namespace

SaveReport report_of(const snapshot::WriteReport& written) {
  SaveReport report;
  report.id = written.id;
  report.memory_bytes = written.memory_bytes;
  report.dirty_bytes = written.considered_bytes;
  report.zero_bytes = written.zero_bytes;
  report.written_bytes = written.written_bytes();
  return report;
}

snapshot::CaptureOptions SessionImpl::capture_options(const SaveOptions& options) const {
  snapshot::CaptureOptions capture;
  capture.creator = creator();
  capture.labels = parts_.labels;
  capture.labels.push_back(
      {.key = std::string(kPhaseLabel),
       .value =
           std::string(held_ && phase_ == GuestPhase::kReady ? kPhaseHeld : phase_label(phase_))});
  for (const snapshot::Label& label : options.labels) {
    capture.labels.push_back(label);
  }
  capture.writer.layout = options.layout;
  capture.writer.codec = options.codec;
  capture.writer.chunk_bytes = options.chunk_bytes;
  capture.writer.threads = options.threads;
  capture.writer.durability =
      options.sync ? snapshot::Durability::kSync : snapshot::Durability::kNone;
  capture.writer.replace_existing = options.replace_existing;
  capture.writer.dispose = options.dispose;
  capture.writer.supervision = {.progress = options.progress, .cancel = options.cancel};
  return capture;
}

Result<std::unique_ptr<snapshot::SnapshotChain>> SessionImpl::open_parent(
    const std::string& purpose) const {
  STASIS_ASSIGN(std::unique_ptr<snapshot::SnapshotChain> chain,
                snapshot::SnapshotChain::open(snapshot::posix_file_system(), parts_.parent->path));
  if (chain->manifest().id != parts_.parent->id) {
    return Error{Errc::kMismatch, 0,
                 purpose + ": its parent '" + parts_.parent->path + "' was replaced: it is " +
                     to_string(chain->manifest().id) + " now and was " +
                     to_string(parts_.parent->id)};
  }
  return chain;
}

Result<void> SessionImpl::check_has_parent(const std::string& path) const {
  if (!parts_.parent) {
    return Error{Errc::kInvalidArgument, 0,
                 "save '" + path +
                     "': a differential snapshot needs a parent, and this guest was neither "
                     "restored from a snapshot nor saved before; save a full one"};
  }
  return {};
}

Result<snapshot::WriteReport> SessionImpl::write_diff(const std::string& path,
                                                      snapshot::CaptureOptions& capture) {
  STASIS_TRY(check_has_parent(path));
  snapshot::FileSystem& files = snapshot::posix_file_system();
  STASIS_ASSIGN(const std::unique_ptr<snapshot::SnapshotChain> chain,
                open_parent("save '" + path + "'"));
  capture.writer.parent = chain.get();
  if (accumulator_ && !missed_writes_) {
    return snapshot::capture_diff(*machine_, *accumulator_, files, path, capture);
  }
  // Nothing has tracked the guest since its parent: compare them.
  const std::unique_ptr<DirtyTracker> compare = make_parent_compare(machine_->memory(), *chain);
  snapshot::DirtyAccumulator untracked(*machine_, *compare);
  return snapshot::capture_diff(*machine_, untracked, files, path, capture);
}

Result<SaveReport> SessionImpl::save(const std::string& path, const SaveOptions& options) {
  if (options.live) {
    STASIS_TRY(begin_live_save(path, options));
    return finish_live_save();
  }
  STASIS_TRY(check_no_live_save("save '" + path + "'"));
  const bool resume_after = !machine_->is_paused() && !held_;
  std::vector<std::string> replaced;
  SaveOptions saving = options;
  if (!saving.dispose) {
    saving.dispose = [&replaced](std::string directory) {
      replaced.push_back(std::move(directory));
    };
  }
  const MonotonicNs begin = host_clock().now();
  STASIS_TRY(machine_->pause(kPauseTimeout));
  Result<SaveReport> report = save_paused(path, saving);
  if (report && !options.then_track.empty()) {
    STASIS_TRY(track(options.then_track, options.tracker_options));
  }
  if (resume_after) {
    STASIS_TRY(resume());
  }
  if (report) {
    report->paused_ns = host_clock().now() - begin;
  }
  for (const std::string& directory : replaced) {
    snapshot::discard(snapshot::posix_file_system(), directory);
  }
  return report;
}

Result<SaveReport> SessionImpl::save_paused(const std::string& path, const SaveOptions& options) {
  snapshot::CaptureOptions capture = capture_options(options);
  const MonotonicNs begin = host_clock().now();
  SaveReport report;
  if (options.kind == SaveKind::kDiff) {
    STASIS_ASSIGN(const snapshot::WriteReport written, write_diff(path, capture));
    report = report_of(written);
  } else {
    // What was dirty before is in this snapshot, too; collected first, so that a failure of the
    // tracker leaves no snapshot that the session does not know.
    if (accumulator_) {
      STASIS_TRY(accumulator_->collect());
    }
    STASIS_ASSIGN(const snapshot::WriteReport written,
                  snapshot::capture_full(*machine_, snapshot::posix_file_system(), path, capture));
    report = report_of(written);
    if (accumulator_) {
      accumulator_->saved();
    }
  }
  report.write_ns = host_clock().now() - begin;
  parts_.parent = Parent{.path = path, .id = report.id};
  ran_since_parent_ = false;
  missed_writes_ = false;
  if (options.kind == SaveKind::kDiff && !options.full_copy.empty()) {
    capture.writer.parent = nullptr;
    STASIS_TRY(snapshot::capture_full(*machine_, snapshot::posix_file_system(), options.full_copy,
                                      capture));
  }
  return report;
}

Result<SaveReport> SessionImpl::flatten_parent(const SaveOptions& options) {
  STASIS_TRY(check_no_live_save("flatten a snapshot"));
  if (!parts_.parent) {
    return Error{Errc::kInvalidArgument, 0,
                 "nothing to flatten: this guest was neither restored from a snapshot nor saved"};
  }
  const MonotonicNs begin = host_clock().now();
  STASIS_ASSIGN(const std::unique_ptr<snapshot::SnapshotChain> chain,
                open_parent("flatten '" + parts_.parent->path + "'"));
  snapshot::MergeOptions merge;
  merge.layout = options.layout;
  merge.codec = options.codec;
  merge.chunk_bytes = options.chunk_bytes;
  merge.threads = options.threads;
  merge.durability = options.sync ? snapshot::Durability::kSync : snapshot::Durability::kNone;
  merge.replace_existing = true;
  merge.dispose = options.dispose;
  merge.creator = creator();
  merge.created_ns = chain->manifest().created_ns;  // The moment that it shows is the same.
  merge.supervision = {.progress = options.progress, .cancel = options.cancel};
  STASIS_ASSIGN(const snapshot::WriteReport written,
                snapshot::merge(snapshot::posix_file_system(), *chain, parts_.parent->path, merge));
  parts_.parent->id = written.id;
  SaveReport report = report_of(written);
  report.write_ns = host_clock().now() - begin;
  return report;
}

Result<void> SessionImpl::track(const std::string& tracker,
                                const snapshot::TrackerOptions& options) {
  STASIS_TRY(check_no_live_save("arm a dirty tracker"));
  const bool resume_after = !machine_->is_paused() && !held_;
  STASIS_TRY(machine_->pause(kPauseTimeout));
  STASIS_TRY(stop_tracking());
  tracker_reasons_.clear();
  if (tracker == snapshot::kAutoTracker) {
    STASIS_ASSIGN(snapshot::ChosenTracker chosen, snapshot::make_auto_tracker(*machine_, options));
    tracker_ = std::move(chosen.tracker);
    tracker_reasons_ = std::move(chosen.reasons);
  } else {
    STASIS_ASSIGN(tracker_, snapshot::make_tracker(tracker, *machine_, options));
  }
  accumulator_.emplace(*machine_, *tracker_);
  const MonotonicNs begin = host_clock().now();
  if (Result<void> armed = accumulator_->arm(); !armed) {
    accumulator_.reset();
    tracker_.reset();
    return armed;
  }
  arm_ns_ = host_clock().now() - begin;
  // What the guest wrote since its parent, before now, was not seen.
  missed_writes_ = ran_since_parent_;
  return resume_after ? resume() : Result<void>();
}

Result<void> SessionImpl::stop_tracking() {
  reset_.reset();
  if (accumulator_) {
    STASIS_TRY(accumulator_->disarm());
  }
  accumulator_.reset();
  tracker_.reset();
  return {};
}

Result<DirtyReport> SessionImpl::dirty() {
  STASIS_TRY(check_no_live_save("collect dirty pages"));
  if (!accumulator_) {
    return Error{Errc::kInvalidArgument, 0, "no dirty tracker is armed; call track() first"};
  }
  const bool resume_after = !machine_->is_paused() && !held_;
  STASIS_TRY(machine_->pause(kPauseTimeout));
  DirtyReport report;
  report.tracker = tracker_->traits().name;
  report.arm_ns = arm_ns_;
  const MonotonicNs begin = host_clock().now();
  STASIS_ASSIGN(report.pages, accumulator_->collect());
  report.collect_ns = host_clock().now() - begin;
  if (resume_after) {
    STASIS_TRY(resume());
  }
  return report;
}

}  // namespace stasis::session::internal
