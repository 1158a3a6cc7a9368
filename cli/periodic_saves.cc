#include "cli/periodic_saves.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>
#include <vector>

#include "cli/quantity.h"
#include "cli/render.h"
#include "snapshot/snapshot_chain.h"

namespace stasis::cli {
namespace {

double pause_quantile(const session::SeriesReport& report, double p) {
  return quantile(std::vector<double>(report.paused_ns.begin(), report.paused_ns.end()), p);
}

std::int64_t whole_ns(double ns) {
  return static_cast<std::int64_t>(ns);
}

}  // namespace

void add_periodic_options(CommandOptions& app, PeriodicOptions& target) {
  add_duration(app, "--save-every", target.every,
               "Save so often while the guest runs; DIR then holds a series, 000001, 000002, ... "
               "of differences, flattened as they add up; 0: once, at the end");
  add_count(app, "--keep", target.keep, 1000,
            "With --save-every: so many of the newest can be restored, older ones are removed");
  add_count(app, "--chain-max", target.depth_max, 1000,
            "With --save-every: flatten after so many differences, if not earlier by their size");
}

Result<session::SeriesOptions> series_options(const std::string& directory,
                                              const std::string& tracker,
                                              const snapshot::TrackerOptions& tracker_options,
                                              const WriteOptions& write,
                                              const PeriodicOptions& periodic) {
  if (directory.empty()) {
    return Error{Errc::kInvalidArgument, 0, "--save-every needs --save DIR"};
  }
  if (!write.full_copy.empty()) {
    return Error{Errc::kInvalidArgument, 0,
                 "--full-copy stands beside one differential snapshot: it cannot be combined with "
                 "--save-every"};
  }
  if (write.live) {
    return Error{Errc::kInvalidArgument, 0,
                 "--live saves once: it cannot be combined with --save-every"};
  }
  session::SeriesOptions options;
  options.directory = directory;
  options.rules = {.keep = periodic.keep, .depth_max = periodic.depth_max};
  options.tracker = tracker.empty() ? "auto" : tracker;
  options.tracker_options = tracker_options;
  options.save.layout = layout_of(write);
  options.save.codec = write.codec;
  STASIS_ASSIGN(options.save.chunk_bytes, chunk_bytes_of(write));
  options.save.threads = write.threads;
  options.save.replace_existing = write.force;
  options.save.cancel = &interrupt_flag();
  return options;
}

PeriodicSaves::PeriodicSaves(std::unique_ptr<session::SnapshotSeries> series,
                             std::chrono::nanoseconds every)
    : series_(std::move(series)), every_(every), due_(host_clock().now()) {}

Result<std::unique_ptr<PeriodicSaves>> PeriodicSaves::begin(session::Session& session,
                                                            session::SeriesOptions options,
                                                            std::chrono::nanoseconds every) {
  STASIS_ASSIGN(std::unique_ptr<session::SnapshotSeries> series,
                session::SnapshotSeries::begin(session, std::move(options)));
  return std::unique_ptr<PeriodicSaves>(new PeriodicSaves(std::move(series), every));
}

std::chrono::nanoseconds PeriodicSaves::until_due() const {
  return std::chrono::nanoseconds(std::max<MonotonicNs>(due_ - host_clock().now(), 0));
}

Result<void> PeriodicSaves::save_if_due() {
  if (until_due().count() > 0) {
    return {};
  }
  STASIS_TRY(series_->save());
  due_ += every_.count();
  const MonotonicNs now = host_clock().now();
  if (due_ < now) {
    const MonotonicNs periods = (now - due_ + every_.count() - 1) / every_.count();
    missed_ += static_cast<std::uint32_t>(periods);
    due_ += periods * every_.count();
  }
  return {};
}

Result<void> PeriodicSaves::save() {
  STASIS_TRY(series_->save());
  return {};
}

std::string describe(const PeriodicSaves& saves) {
  const session::SeriesReport& report = saves.report();
  if (report.saved == 0) {
    return "nothing was saved: the guest ended before the first snapshot\n";
  }
  std::string text = fmt::format(
      "saved {} snapshot{}, the newest in '{}', {} kept: {} written, {} on the disk (at most {})\n",
      report.saved, report.saved == 1 ? "" : "s", printable(report.newest), report.kept,
      format_bytes(report.saved_bytes + report.flattened_bytes), format_bytes(report.disk_bytes),
      format_bytes(report.disk_bytes_max));
  text += fmt::format("the guest was paused for {} at the first, then for {} (median; at most {})",
                      format_duration(report.paused_ns.front()),
                      format_duration(whole_ns(pause_quantile(report, 0.5))),
                      format_duration(whole_ns(pause_quantile(report, 1))));
  if (report.flattened > 0) {
    text += fmt::format("; {} flattened meanwhile, in {}", report.flattened,
                        format_duration(report.flatten_ns));
  }
  if (saves.missed() > 0) {
    text += fmt::format("; {} period{} passed without a snapshot, because one took longer",
                        saves.missed(), saves.missed() == 1 ? "" : "s");
  }
  return text + "\n";
}

nlohmann::ordered_json to_json(const PeriodicSaves& saves) {
  using Json = nlohmann::ordered_json;
  const session::SeriesReport& report = saves.report();
  Json json = {{"newest", report.newest},
               {"kept", report.kept},
               {"saved", report.saved},
               {"flattened", report.flattened},
               {"removed", report.removed},
               {"missed_periods", saves.missed()},
               {"saved_bytes", report.saved_bytes},
               {"flattened_bytes", report.flattened_bytes},
               {"disk_bytes", report.disk_bytes},
               {"disk_bytes_max", report.disk_bytes_max},
               {"flatten_ns", report.flatten_ns}};
  json["paused_ns"] = report.paused_ns;
  return json;
}

}  // namespace stasis::cli
