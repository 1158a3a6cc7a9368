#include <array>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>

#include "core/clock.h"
#include "experiments/harness/process_memory.h"
#include "experiments/trials/guest_trial.h"
#include "experiments/trials/trial_kinds.h"
#include "session/backends.h"

namespace stasis::experiments {
namespace {

using session::Session;

Result<TrialReply> prepare(const TrialRequest& request) {
  STASIS_ASSIGN(const auto backend, session::make_backend(request.text("backend", "auto")));
  STASIS_ASSIGN(const session::LaunchOptions launch, launch_options(request));
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
  const MonotonicNs asked_at = host_clock().now();
  STASIS_ASSIGN(const std::string answer, ask(*guest, request.text("request")));
  TrialReply reply;
  reply.metrics["request_ns"] = number(host_clock().now() - asked_at);
  reply.proof = proof_of(answer);
  STASIS_TRY(measure_save(*guest, request, session::SaveKind::kDiff, reply));
  return reply;
}

}  // namespace

std::span<const TrialKind> guest_trials() {
  static constexpr std::array<TrialKind, 4> kKinds = {{{"prepare", prepare},
                                                       {"restore", restore},
                                                       {"save_full", save_full},
                                                       {"save_diff", save_diff}}};
  return kKinds;
}

}  // namespace stasis::experiments
