#include "experiments/workload/profile_trials.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <system_error>

#include "core/clock.h"
#include "core/ranges.h"
#include "experiments/harness/process_memory.h"
#include "experiments/trials/guest_trial.h"
#include "experiments/workload/footprint.h"
#include "session/backends.h"

namespace stasis::experiments {
namespace {

using session::Session;

constexpr std::uint64_t kPageBytes = 4096;

// A request's profile with what it makes a guest do.
struct Work {
  Profile profile;
  std::uint64_t seed = 1;
};

Result<Work> work_of(const TrialRequest& request) {
  STASIS_ASSIGN(const std::vector<Profile> profiles,
                profiles_from_json(request.text("profile"), "the trial's profile"));
  Work work{.profile = profiles.front(), .seed = 1};
  STASIS_TRY(check_profile(work.profile));
  STASIS_ASSIGN(work.seed, request.number("seed", work.seed));
  return work;
}

Result<TrialReply> prepare_profile(const TrialRequest& request) {
  STASIS_ASSIGN(const Work work, work_of(request));
  STASIS_ASSIGN(const auto backend, session::make_backend(request.text("backend", "auto")));
  session::LaunchOptions launch;
  launch.guest = "pagetoucher";
  launch.memory_bytes = work.profile.memory_mib << 20U;
  STASIS_ASSIGN(const std::unique_ptr<Session> guest, Session::launch(*backend, launch));
  STASIS_TRY(guest->wait_ready(kPatience));
  STASIS_ASSIGN(const std::vector<std::string> fills, fill_requests(work.profile, work.seed));
  for (const std::string& fill : fills) {
    STASIS_TRY(ask(*guest, fill));
  }
  STASIS_ASSIGN(const session::SaveReport report, guest->save(request.text("out"), {}));
  TrialReply reply;
  reply.metrics["written_bytes"] = number(report.written_bytes);
  return reply;
}

Result<TrialReply> record_profile(const TrialRequest& request) {
  STASIS_ASSIGN(const Work work, work_of(request));
  STASIS_ASSIGN(const auto backend, session::make_backend(request.text("backend", "auto")));
  session::RestoreOptions options;
  options.policy = "lazy";
  options.policy_options.huge_pages = HugePages::kNever;
  STASIS_ASSIGN(const std::unique_ptr<Session> guest,
                Session::restore(*backend, request.text("snapshot"), options));
  STASIS_TRY(ask_all(*guest, generate(work.profile, work.seed).first));
  STASIS_ASSIGN(const session::WorkingSetReport report, guest->record_working_set());
  TrialReply reply;
  reply.metrics["written_bytes"] = number(report.written_bytes);
  reply.metrics["read_bytes"] = number(report.read_bytes);
  return reply;
}

Result<TrialReply> invoke_profile(const TrialRequest& request) {
  STASIS_ASSIGN(const Work work, work_of(request));
  const Accesses accesses = generate(work.profile, work.seed);
  STASIS_ASSIGN(const auto backend, session::make_backend(request.text("backend", "auto")));
  STASIS_ASSIGN(session::RestoreOptions options, restore_options(request));
  const std::uint64_t read_before = storage_read_bytes();
  const MonotonicNs begin = host_clock().now();
  options.begin_at = begin;
  STASIS_ASSIGN(const std::unique_ptr<Session> guest,
                Session::restore(*backend, request.text("snapshot"), options));
  TrialReply reply;
  STASIS_ASSIGN(reply.proof, ask_all(*guest, accesses.second));
  reply.metrics["total_ns"] = number(host_clock().now() - begin);
  STASIS_TRY(guest->settle(kPatience));
  add_milestones(guest->milestones(), reply);
  reply.metrics["storage_read_bytes"] = number(storage_read_bytes() - read_before);
  reply.metrics["peak_rss_bytes"] = number(process_memory().peak_resident_bytes);
  STASIS_TRY(add_counters(*guest, reply));
  return reply;
}

// Numbers of the guest pages in `ranges` that are not among `except`.
std::vector<std::uint64_t> page_numbers(const GpaRanges& ranges, const GpaRanges& except) {
  std::vector<std::uint64_t> pages;
  for (const GpaRange& range : subtract(ranges, except)) {
    for (std::uint64_t at = 0; at < range.size; at += kPageBytes) {
      pages.push_back((range.begin.value + at) / kPageBytes);
    }
  }
  return pages;
}

std::vector<Access> as_writes(std::vector<Access> accesses) {
  for (Access& access : accesses) {
    access.is_write = true;
  }
  return accesses;
}

// What an input writes, when every access does: a tracker sees that exactly, whatever the host maps
// around a page that is only read.
Result<std::vector<std::uint64_t>> touched_by(Session& guest, const std::vector<Access>& input,
                                              const GpaRanges& own) {
  STASIS_TRY(ask_all(guest, as_writes(input)));
  STASIS_ASSIGN(const session::DirtyReport report, guest.dirty());
  return page_numbers(report.pages, own);
}

// What the snapshot's memory holds, by saving it again compressed; before any input writes to it.
Result<void> add_contents(HypervisorBackend& backend, const TrialRequest& request,
                          TrialReply& reply) {
  session::RestoreOptions options;
  options.policy = "eager";
  STASIS_ASSIGN(const std::unique_ptr<Session> guest,
                Session::restore(backend, request.text("snapshot"), options));
  STASIS_TRY(guest->pause(kPatience));
  session::SaveOptions save;
  save.layout = snapshot::Layout::kPacked;
  save.codec = snapshot::Codec::kLz4;
  save.sync = false;
  const std::string out = request.text("out");
  const Result<session::SaveReport> saved = guest->save(out, save);
  std::error_code ignored;
  std::filesystem::remove_all(out, ignored);
  STASIS_TRY(saved);
  const double memory = number(saved->memory_bytes);
  reply.metrics["zero_share"] = number(saved->zero_bytes) / memory;
  reply.metrics["compression_times"] =
      (memory - number(saved->zero_bytes)) / number(saved->written_bytes);
  reply.metrics["memory_bytes"] = memory;
  return {};
}

Result<TrialReply> characterize(const TrialRequest& request) {
  STASIS_ASSIGN(const Work work, work_of(request));
  const Accesses accesses = generate(work.profile, work.seed);
  STASIS_ASSIGN(const auto backend, session::make_backend(request.text("backend", "auto")));
  TrialReply reply;
  STASIS_TRY(add_contents(*backend, request, reply));
  session::RestoreOptions options;
  options.policy = "eager";
  options.policy_options.huge_pages = HugePages::kNever;
  options.tracker = request.text("tracker", "compare");
  STASIS_ASSIGN(const std::unique_ptr<Session> guest,
                Session::restore(*backend, request.text("snapshot"), options));
  // What the guest writes for itself whenever it is asked anything.
  STASIS_TRY(ask(*guest, "stats"));
  STASIS_ASSIGN(const session::DirtyReport own, guest->dirty());
  STASIS_ASSIGN(const std::vector<std::uint64_t> first,
                touched_by(*guest, accesses.first, own.pages));
  STASIS_ASSIGN(const std::vector<std::uint64_t> second,
                touched_by(*guest, accesses.second, own.pages));
  add_metrics(footprint_of(first), reply.metrics);
  const Overlap overlap = overlap_of(first, second);
  reply.metrics["same_pages"] = number(overlap.same);
  reply.metrics["unique_pages"] = number(overlap.unique);
  reply.metrics["own_pages"] = number(total_bytes(own.pages) / kPageBytes);
  return reply;
}

}  // namespace

Result<std::string> ask_all(Session& guest, std::span<const Access> accesses) {
  std::string proof;
  for (const std::vector<std::byte>& request : requests_for(accesses)) {
    STASIS_ASSIGN(const std::string answer, ask(guest, request));
    proof += (proof.empty() ? "" : " ") + proof_of(answer);
  }
  return proof;
}

std::span<const TrialKind> profile_trials() {
  static constexpr std::array<TrialKind, 4> kKinds = {{{"prepare_profile", prepare_profile},
                                                       {"record_profile", record_profile},
                                                       {"invoke_profile", invoke_profile},
                                                       {"characterize", characterize}}};
  return kKinds;
}

}  // namespace stasis::experiments
