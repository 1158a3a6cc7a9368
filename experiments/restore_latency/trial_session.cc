#include <array>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>

#include "core/clock.h"
#include "experiments/harness/process_memory.h"
#include "experiments/restore_latency/trial_kinds.h"
#include "session/backends.h"
#include "session/session.h"

namespace stasis::experiments {
namespace {

using session::Session;

constexpr std::chrono::nanoseconds kPatience = std::chrono::minutes(2);

double number(std::int64_t value) {
  return static_cast<double>(value);
}
double number(std::uint64_t value) {
  return static_cast<double>(value);
}

Result<session::SaveOptions> save_options(const TrialRequest& request) {
  session::SaveOptions options;
  STASIS_ASSIGN(const std::uint64_t threads, request.number("threads", 1));
  STASIS_ASSIGN(const std::uint64_t chunk, request.number("chunk_bytes", options.chunk_bytes));
  options.threads = static_cast<std::uint32_t>(threads);
  options.chunk_bytes = static_cast<std::uint32_t>(chunk);
  options.layout = request.text("layout", "mappable") == "packed" ? snapshot::Layout::kPacked
                                                                  : snapshot::Layout::kMappable;
  options.codec =
      request.text("codec", "none") == "lz4" ? snapshot::Codec::kLz4 : snapshot::Codec::kNone;
  options.sync = request.text("sync", "on") == "on";
  return options;
}

Result<session::RestoreOptions> restore_options(const TrialRequest& request) {
  session::RestoreOptions options;
  options.policy = request.text("policy", "eager");
  STASIS_ASSIGN(const std::uint64_t threads, request.number("threads", 1));
  options.policy_options.threads = static_cast<std::uint32_t>(threads);
  options.policy_options.verify =
      request.text("verify", "on") == "on" ? snapshot::Verify::kOn : snapshot::Verify::kOff;
  options.policy_options.huge_pages = request.text("huge_pages", "transparent") == "never"
                                          ? HugePages::kNever
                                          : HugePages::kTransparent;
  options.tracker = request.text("tracker");
  STASIS_ASSIGN(const std::uint64_t spawned_at, request.number("spawned_at", 0));
  if (spawned_at != 0) {
    options.spawned_at = static_cast<MonotonicNs>(spawned_at);
  }
  return options;
}

// The guest's answer as text. A guest that says "error" makes the trial fail.
Result<std::string> ask(Session& guest, const std::string& request) {
  STASIS_ASSIGN(const session::Response response,
                guest.request(std::as_bytes(std::span(request)), kPatience));
  const auto* text = static_cast<const char*>(static_cast<const void*>(response.bytes.data()));
  std::string answer(text, response.bytes.size());
  if (answer.starts_with("error")) {
    return Error{.code = Errc::kGuestFault,
                 .message = "the guest refused '" + request + "': " + answer};
  }
  return answer;
}

// The part of an answer that depends on memory alone: pagetoucher's hash, without the cycles it
// took; all of the answer of a guest that says no hash.
std::string proof_of(const std::string& answer) {
  const std::size_t begin = answer.find("hash=");
  return begin == std::string::npos ? answer
                                    : answer.substr(begin, answer.find(' ', begin) - begin);
}

void add_milestones(const MilestoneLog& log, TrialReply& reply) {
  for (std::size_t i = 0; i < kMilestoneCount; ++i) {
    const auto milestone = static_cast<Milestone>(i);
    const std::optional<std::int64_t> ns = log.since_begin(milestone);
    if (ns && milestone != Milestone::kBegin && milestone != Milestone::kSpawn) {
      reply.metrics[std::string(name_of(milestone)) + "_ns"] = number(*ns);
    }
  }
  if (const std::optional<std::int64_t> spawn = log.since_begin(Milestone::kSpawn); spawn) {
    reply.metrics["spawn_to_begin_ns"] = number(-*spawn);
    if (const auto first = reply.metrics.find("first_instruction_ns");
        first != reply.metrics.end()) {
      reply.metrics["spawn_to_first_instruction_ns"] = first->second - number(*spawn);
    }
  }
}

Result<void> add_counters(Session& guest, TrialReply& reply) {
  STASIS_TRY(guest.pause(kPatience));
  STASIS_ASSIGN(const session::SessionCounters counters, guest.counters());
  reply.metrics["minor_faults"] = number(counters.minor_faults);
  reply.metrics["major_faults"] = number(counters.major_faults);
  reply.metrics["filled_bytes"] = number(counters.filled_bytes);
  reply.metrics["mappings"] = number(counters.mappings);
  reply.metrics["vcpu_entries"] = number(counters.machine.entries);
  reply.metrics["io_exits"] = number(counters.machine.io_exits);
  reply.metrics["user_cpu_ns"] = number(counters.user_cpu_ns);
  reply.metrics["system_cpu_ns"] = number(counters.system_cpu_ns);
  return {};
}

Result<TrialReply> prepare(const TrialRequest& request) {
  STASIS_ASSIGN(const auto backend, session::make_backend(request.text("backend", "auto")));
  session::LaunchOptions launch;
  launch.guest = request.text("guest");
  if (const std::string arguments = request.text("arguments"); !arguments.empty()) {
    launch.arguments = {arguments};
  }
  STASIS_ASSIGN(launch.memory_bytes, request.number("memory_bytes", launch.memory_bytes));
  STASIS_ASSIGN(const std::unique_ptr<Session> guest, Session::launch(*backend, launch));
  STASIS_TRY(guest->wait_ready(kPatience));
  STASIS_ASSIGN(const session::SaveOptions options, save_options(request));
  STASIS_ASSIGN(const session::SaveReport report, guest->save(request.text("out"), options));
  TrialReply reply;
  reply.metrics["written_bytes"] = number(report.written_bytes);
  return reply;
}

Result<TrialReply> restore(const TrialRequest& request) {
  const MonotonicNs started = host_clock().now();
  STASIS_ASSIGN(const auto backend, session::make_backend(request.text("backend", "auto")));
  TrialReply reply;
  reply.metrics["make_backend_ns"] = number(host_clock().now() - started);
  STASIS_ASSIGN(const session::RestoreOptions options, restore_options(request));
  const std::uint64_t read_before = storage_read_bytes();
  STASIS_ASSIGN(const std::unique_ptr<Session> guest,
                Session::restore(*backend, request.text("snapshot"), options));
  STASIS_ASSIGN(const std::string answer, ask(*guest, request.text("request")));
  reply.proof = proof_of(answer);
  STASIS_TRY(guest->settle(kPatience));
  const std::uint64_t guest_bytes = guest->machine().memory().size_bytes();
  const ProcessMemory memory = process_memory();
  add_milestones(guest->milestones(), reply);
  reply.metrics["first_instruction_error_ns"] = number(guest->first_instruction_error_ns());
  reply.metrics["storage_read_bytes"] = number(storage_read_bytes() - read_before);
  reply.metrics["guest_bytes"] = number(guest_bytes);
  reply.metrics["peak_rss_bytes"] = number(memory.peak_resident_bytes);
  reply.metrics["peak_above_guest_bytes"] =
      number(memory.peak_resident_bytes) - number(guest_bytes);
  STASIS_TRY(add_counters(*guest, reply));
  return reply;
}

// Saves what `guest` is now, and removes it again unless it is to be kept.
Result<void> measure_save(Session& guest, const TrialRequest& request, session::SaveKind kind,
                          TrialReply& reply) {
  STASIS_ASSIGN(session::SaveOptions options, save_options(request));
  options.kind = kind;
  const std::string out = request.text("out");
  STASIS_TRY(guest.pause(kPatience));
  const bool peak_is_fresh = reset_peak_memory();
  const std::uint64_t resident_before = process_memory().resident_bytes;
  const MonotonicNs begin = host_clock().now();
  Result<session::SaveReport> report = guest.save(out, options);
  const MonotonicNs end = host_clock().now();
  if (request.text("keep") != "yes") {
    std::error_code ignored;
    std::filesystem::remove_all(out, ignored);
  }
  STASIS_TRY(report);
  reply.metrics["save_ns"] = number(end - begin);
  reply.metrics["paused_ns"] = number(report->paused_ns);
  reply.metrics["write_ns"] = number(report->write_ns);
  reply.metrics["memory_bytes"] = number(report->memory_bytes);
  reply.metrics["dirty_bytes"] = number(report->dirty_bytes);
  reply.metrics["zero_bytes"] = number(report->zero_bytes);
  reply.metrics["written_bytes"] = number(report->written_bytes);
  const std::uint64_t peak = process_memory().peak_resident_bytes;
  if (peak_is_fresh) {
    reply.metrics["save_extra_rss_bytes"] = number(peak) - number(resident_before);
  }
  return {};
}

Result<TrialReply> save_full(const TrialRequest& request) {
  STASIS_ASSIGN(const auto backend, session::make_backend(request.text("backend", "auto")));
  session::RestoreOptions restored;
  restored.policy = "eager";
  STASIS_ASSIGN(const std::unique_ptr<Session> guest,
                Session::restore(*backend, request.text("snapshot"), restored));
  STASIS_TRY(guest->settle(kPatience));
  TrialReply reply;
  STASIS_TRY(measure_save(*guest, request, session::SaveKind::kFull, reply));
  return reply;
}

Result<TrialReply> save_diff(const TrialRequest& request) {
  STASIS_ASSIGN(const auto backend, session::make_backend(request.text("backend", "auto")));
  session::RestoreOptions restored;
  restored.policy = "eager";
  restored.tracker = request.text("tracker", "auto");
  STASIS_ASSIGN(const std::unique_ptr<Session> guest,
                Session::restore(*backend, request.text("snapshot"), restored));
  STASIS_ASSIGN(const std::string answer, ask(*guest, request.text("request")));
  TrialReply reply;
  reply.proof = proof_of(answer);
  STASIS_TRY(measure_save(*guest, request, session::SaveKind::kDiff, reply));
  return reply;
}

}  // namespace

Result<TrialReply> run_session_trial(const TrialRequest& request) {
  if (request.kind == "prepare") {
    return prepare(request);
  }
  if (request.kind == "restore") {
    return restore(request);
  }
  if (request.kind == "save_full") {
    return save_full(request);
  }
  if (request.kind == "save_diff") {
    return save_diff(request);
  }
  return Error{.code = Errc::kInvalidArgument,
               .message = "trial kind '" + request.kind + "' is not known"};
}

TrialReply run_trial(const TrialRequest& request) {
  Result<TrialReply> reply =
      request.kind.starts_with("floor_") ? run_floor_trial(request) : run_session_trial(request);
  return reply ? std::move(*reply) : TrialReply{.error = std::move(reply).error().to_string()};
}

}  // namespace stasis::experiments
