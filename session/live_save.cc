// Saving a session while its guest runs.
#include <utility>

#include "session/session_impl.h"
#include "snapshot/file_system.h"

namespace stasis::session::internal {

Result<void> SessionImpl::check_no_live_save(std::string_view what) const {
  if (!live_) {
    return {};
  }
  return Error{Errc::kInvalidArgument, 0,
               std::string(what) + ": a live save to '" + live_->capture->target() +
                   "' is running; finish it first"};
}

Result<void> SessionImpl::begin_live_save(const std::string& path, const SaveOptions& options) {
  STASIS_TRY(check_no_live_save("save '" + path + "'"));
  if (!options.live) {
    return Error{Errc::kInvalidArgument, 0, "save '" + path + "': no live save was asked for"};
  }
  LiveSave live;
  live.options = options;
  live.ran_since_parent = ran_since_parent_;
  snapshot::LiveRequest request;
  request.target = path;
  request.capture = capture_options(options);
  request.live = *options.live;
  if (accumulator_) {
    request.dirty = &*accumulator_;
    request.tracker = tracker_.get();
  }
  if (options.kind == SaveKind::kDiff) {
    STASIS_TRY(check_has_parent(path));
    STASIS_ASSIGN(live.parent, open_parent("save '" + path + "'"));
    if (missed_writes_) {
      return Error{
          Errc::kInvalidArgument, 0,
          "save '" + path +
              "': the dirty tracker was armed when the guest had written since its parent; "
              "save a full snapshot first, or without --live"};
    }
    request.capture.writer.parent = live.parent.get();
  }
  if (!options.full_copy.empty()) {
    request.at_the_moment = [this, target = options.full_copy,
                             capture = capture_options(options)]() -> Result<void> {
      STASIS_TRY(snapshot::capture_full(*machine_, snapshot::posix_file_system(), target, capture));
      return {};
    };
  }
  STASIS_ASSIGN(live.capture, snapshot::LiveCapture::begin(*machine_, snapshot::posix_file_system(),
                                                           std::move(request)));
  live_.emplace(std::move(live));
  // From now on: of the snapshot that is being written.
  ran_since_parent_ = !machine_->is_paused();
  return {};
}

Result<SaveReport> SessionImpl::finish_live_save() {
  if (!live_) {
    return Error{Errc::kInvalidArgument, 0, "no live save is running"};
  }
  LiveSave live = *std::exchange(live_, std::nullopt);
  Result<snapshot::LiveReport> finished = live.capture->finish();
  if (!finished) {
    ran_since_parent_ = ran_since_parent_ || live.ran_since_parent;
    return std::move(finished).error();
  }
  SaveReport report = report_of(finished->written);
  report.paused_ns = finished->pause.paused_ns;
  report.write_ns = finished->write_ns;
  report.live = LiveSaveReport{.mechanism = std::move(finished->mechanism),
                               .pause = finished->pause,
                               .counters = finished->counters};
  parts_.parent = Parent{.path = live.capture->target(), .id = report.id};
  missed_writes_ = false;
  if (!live.options.then_track.empty()) {
    STASIS_TRY(track(live.options.then_track, live.options.tracker_options));
  }
  return report;
}

}  // namespace stasis::session::internal
