#include "experiments/live_capture/probe.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <span>
#include <system_error>
#include <utility>

#include "core/clock.h"
#include "snapshot/trackers/tracker_catalog.h"

namespace stasis::experiments {
namespace {

constexpr std::chrono::nanoseconds kPatience = std::chrono::minutes(2);
constexpr std::chrono::nanoseconds kIdle = std::chrono::milliseconds(500);
// Of the guest's memory, what it does not fill: its program, stacks and page tables.
constexpr std::uint64_t kReservedMib = 64;

double number(std::int64_t value) {
  return static_cast<double>(value);
}
double number(std::uint64_t value) {
  return static_cast<double>(value);
}

// The number of "name=number" in an answer.
Result<double> field(const std::string& answer, const std::string& name) {
  const std::string key = " " + name + "=";
  const std::size_t found = answer.find(key);
  double value = 0;
  const char* const begin = answer.data() + (found == std::string::npos ? 0 : found + key.size());
  const auto parsed = std::from_chars(begin, answer.data() + answer.size(), value);
  if (found == std::string::npos || parsed.ec != std::errc()) {
    return Error{Errc::kGuestFault, 0, "the guest's report has no " + name + ": " + answer};
  }
  return value;
}

}  // namespace

Result<std::unique_ptr<Probe>> Probe::launch(HypervisorBackend& backend, ProbeOptions options) {
  const std::uint64_t memory_mib = options.memory_bytes >> 20U;
  if (memory_mib < 2 * kReservedMib + options.write_mib) {
    return Error{Errc::kInvalidArgument, 0,
                 std::to_string(memory_mib) + " MiB of guest memory: at least " +
                     std::to_string(2 * kReservedMib + options.write_mib) + " are needed"};
  }
  const std::uint64_t filled_mib = memory_mib - kReservedMib;
  session::LaunchOptions launch;
  launch.guest = "jitter";
  launch.arguments = {"fill=" + std::to_string(filled_mib)};
  launch.memory_bytes = options.memory_bytes;
  launch.vcpus = 2;
  launch.huge_pages = options.huge_pages;
  launch.tracker = options.tracker;
  STASIS_ASSIGN(std::unique_ptr<session::Session> guest, session::Session::launch(backend, launch));
  STASIS_TRY(guest->wait_ready(kPatience));
  return std::unique_ptr<Probe>(new Probe(std::move(options), std::move(guest), filled_mib));
}

Result<std::string> Probe::ask(const std::string& request) {
  STASIS_ASSIGN(const session::Response response,
                guest_->request(std::as_bytes(std::span(request)), kPatience));
  const auto* text = static_cast<const char*>(static_cast<const void*>(response.bytes.data()));
  std::string answer(text, response.bytes.size());
  if (!answer.starts_with("ok")) {
    return Error{Errc::kGuestFault, 0, "the guest refused '" + request + "': " + answer};
  }
  return answer;
}

Result<void> Probe::begin() {
  STASIS_TRY(ask("measure write=" + std::to_string(options_.write_mib) +
                 " pace=" + std::to_string(options_.pace_ns)));
  return {};
}

Result<void> Probe::end(Metrics& metrics) {
  STASIS_ASSIGN(const std::string answer, ask("report"));
  STASIS_ASSIGN(metrics["guest_longest_gap_ns"], field(answer, "longest_gap_ns"));
  STASIS_ASSIGN(metrics["guest_longest_write_ns"], field(answer, "longest_write_ns"));
  STASIS_ASSIGN(metrics["guest_writes"], field(answer, "writes"));
  return {};
}

Result<Metrics> Probe::idle() {
  Metrics metrics;
  STASIS_TRY(begin());
  const auto event = guest_->wait_exit(kIdle);
  if (event || event.error().code != Errc::kTimeout) {
    return Error{Errc::kGuestFault, 0, "the guest ended while nothing happened"};
  }
  STASIS_TRY(end(metrics));
  return metrics;
}

Result<Metrics> Probe::arming() {
  Metrics metrics;
  Machine& machine = guest_->machine();
  STASIS_ASSIGN(const auto tracker, snapshot::make_tracker("userfaultfd", machine));
  STASIS_TRY(begin());
  const MonotonicNs start = host_clock().now();
  STASIS_TRY(guest_->pause(kPatience));
  const MonotonicNs stopped = host_clock().now();
  Result<void> armed = machine.arm_dirty(*tracker);
  const MonotonicNs done = host_clock().now();
  // Given back while the guest waits, so that what follows is like before.
  Result<void> given_back = machine.disarm_dirty(*tracker);
  STASIS_TRY(guest_->resume());
  STASIS_TRY(std::move(armed));
  STASIS_TRY(std::move(given_back));
  metrics["stop_ns"] = number(stopped - start);
  metrics["arm_ns"] = number(done - stopped);
  STASIS_TRY(end(metrics));
  return metrics;
}

Result<session::SaveReport> Probe::save(const session::SaveOptions& save_options) {
  const std::string path = options_.directory + "/" + std::to_string(saves_++);
  return guest_->save(path, save_options);
}

Result<Metrics> Probe::live_save() {
  session::SaveOptions save_options;
  save_options.live = snapshot::LiveOptions{.mechanism = options_.mechanism};
  save_options.threads = 1;
  STASIS_TRY(begin());
  STASIS_ASSIGN(const session::SaveReport report, save(save_options));
  Metrics metrics;
  STASIS_TRY(end(metrics));
  const session::LiveSaveReport& live = *report.live;
  metrics["paused_ns"] = number(report.paused_ns);
  metrics["prepare_ns"] = number(live.pause.prepare_ns);
  metrics["stop_ns"] = number(live.pause.stop_ns);
  metrics["state_ns"] = number(live.pause.state_ns);
  metrics["freeze_ns"] = number(live.pause.freeze_ns);
  metrics["write_ns"] = number(report.write_ns);
  metrics["written_bytes"] = number(report.written_bytes);
  metrics["write_faults"] = number(live.counters.write_faults);
  metrics["copied_bytes"] = number(live.counters.copied_bytes);
  metrics["waits"] = number(live.counters.waits);
  std::error_code ignored;
  std::filesystem::remove_all(options_.directory + "/" + std::to_string(saves_ - 1), ignored);
  return metrics;
}

Result<Metrics> Probe::still_save() {
  session::SaveOptions save_options;
  save_options.threads = 2;  // Nobody else wants the CPUs.
  STASIS_TRY(begin());
  STASIS_ASSIGN(const session::SaveReport report, save(save_options));
  Metrics metrics;
  STASIS_TRY(end(metrics));
  metrics["paused_ns"] = number(report.paused_ns);
  metrics["written_bytes"] = number(report.written_bytes);
  return metrics;
}

Result<Metrics> Probe::still_diff(std::uint32_t percent) {
  if (!has_parent_) {
    session::SaveOptions parent;
    parent.threads = 2;
    parent.then_track = options_.tracker;
    STASIS_TRY(save(parent));
    has_parent_ = true;
  }
  const std::uint64_t mib = (options_.memory_bytes >> 20U) * percent / 100;
  STASIS_TRY(ask("measure write=0"));
  STASIS_TRY(ask("dirty " + std::to_string(std::min(mib, filled_mib_)) +
                 " seed=" + std::to_string(saves_)));
  // From here on it only watches: what it writes would be more than was asked for.
  STASIS_TRY(ask("measure write=0"));
  session::SaveOptions save_options;
  save_options.kind = session::SaveKind::kDiff;
  save_options.threads = 2;
  // To the page cache: with the storage in the pause it would be longer still.
  save_options.sync = false;
  STASIS_ASSIGN(const session::SaveReport report, save(save_options));
  Metrics metrics;
  STASIS_TRY(end(metrics));
  metrics["paused_ns"] = number(report.paused_ns);
  metrics["written_bytes"] = number(report.written_bytes);
  metrics["dirty_bytes"] = number(report.dirty_bytes);
  return metrics;
}

}  // namespace stasis::experiments
