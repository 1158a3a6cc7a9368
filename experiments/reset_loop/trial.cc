// One trial: a guest is restored once, and then asked and reset again and again. Resets that are
// measured and those whose pages give the floor take turns.
#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "experiments/floor/floors.h"
#include "experiments/floor/page_copies.h"
#include "experiments/reset_loop/reset_loop.h"
#include "experiments/stats/descriptive.h"
#include "experiments/trials/guest_trial.h"
#include "session/backends.h"

namespace stasis::experiments::reset_loop {
namespace {

using session::Session;

// By quantity, one value a reset.
struct Samples {
  std::vector<double> reset, state, collect, copy, memory, floor;
  double dirty_pages = 0;  // Of the last.
  double strayed_pages = 0;
};

class Loop {
 public:
  Loop(Session& guest, std::string request, PageCopies copies)
      : guest_(guest), request_(std::move(request)), copies_(std::move(copies)) {}

  [[nodiscard]] const std::string& proof() const { return proof_; }

  // The same answer each time, or it was not the same guest.
  Result<void> ask_again() {
    STASIS_ASSIGN(const std::string answer, ask(guest_, request_));
    std::string proof = proof_of(answer);
    if (!proof_.empty() && proof != proof_) {
      return Error{
          .code = Errc::kCorruption,
          .message = "a guest that was reset answered '" + proof + "' after '" + proof_ + "'"};
    }
    proof_ = std::move(proof);
    return {};
  }

  // Returns how long it took.
  Result<std::int64_t> reset(Samples& samples) {
    const double page = number(guest_.machine().memory().page_size_bytes());
    const MonotonicNs begin = host_clock().now();
    STASIS_TRY(guest_.pause(kPatience));
    STASIS_ASSIGN(const snapshot::ResetReport report, guest_.reset());
    const std::int64_t took = host_clock().now() - begin;
    samples.reset.push_back(number(took));
    samples.state.push_back(number(report.state_ns));
    samples.collect.push_back(number(report.collect_ns));
    samples.copy.push_back(number(report.copy_ns));
    samples.memory.push_back(number(report.collect_ns + report.read_ns + report.copy_ns));
    samples.dirty_pages = number(report.dirty_bytes) / page;
    const double put_back = number(report.copied_bytes + report.zeroed_bytes) / page;
    samples.strayed_pages = std::max(samples.strayed_pages, put_back > samples.dirty_pages
                                                                ? put_back - samples.dirty_pages
                                                                : samples.dirty_pages - put_back);
    return took;
  }

  Result<void> measure_floor(Samples& samples) {
    STASIS_TRY(guest_.pause(kPatience));
    STASIS_ASSIGN(const session::DirtyReport dirty, guest_.dirty());
    samples.floor.push_back(number(dirty.collect_ns + copies_.copy_ns(dirty.pages)));
    STASIS_TRY(guest_.reset());
    return {};
  }

 private:
  Session& guest_;
  const std::string request_;
  PageCopies copies_;
  std::string proof_;
};

Result<TrialReply> run_loop(const TrialRequest& request) {
  STASIS_ASSIGN(const auto backend, session::make_backend(request.text("backend", "auto")));
  STASIS_ASSIGN(session::RestoreOptions options, restore_options(request));
  options.policy_options.huge_pages = HugePages::kNever;  // A page that is written is one page.
  STASIS_ASSIGN(const std::uint64_t resets, request.number("resets", 10));
  if (resets == 0) {
    return Error{.code = Errc::kInvalidArgument, .message = "resets is 0"};
  }
  STASIS_ASSIGN(const std::unique_ptr<Session> guest,
                Session::restore(*backend, request.text("snapshot"), options));
  const GuestMemory& memory = guest->machine().memory();
  STASIS_ASSIGN(PageCopies copies, PageCopies::create(memory.ranges()));
  Loop loop(*guest, request.text("request"), std::move(copies));
  TrialReply reply;
  Samples first;
  STASIS_TRY(loop.ask_again());
  STASIS_ASSIGN(const std::int64_t first_ns, loop.reset(first));
  reply.metrics["first_reset_ns"] = number(first_ns);
  Samples samples;
  for (std::uint64_t i = 0; i < resets; ++i) {
    STASIS_TRY(loop.ask_again());
    STASIS_TRY(loop.reset(samples));
    STASIS_TRY(loop.ask_again());
    STASIS_TRY(loop.measure_floor(samples));
  }
  STASIS_ASSIGN(const std::int64_t full_copy, copy_ns(memory.size_bytes()));
  reply.proof = loop.proof();
  reply.metrics["reset_ns"] = median(samples.reset);
  reply.metrics["reset_p99_ns"] = quantile(samples.reset, 0.99);
  reply.metrics["state_ns"] = median(samples.state);
  reply.metrics["collect_ns"] = median(samples.collect);
  reply.metrics["copy_ns"] = median(samples.copy);
  reply.metrics["memory_ns"] = median(samples.memory);
  reply.metrics["floor_ns"] = median(samples.floor);
  reply.metrics["full_copy_ns"] = number(full_copy);
  reply.metrics["dirty_pages"] = samples.dirty_pages;
  reply.metrics["strayed_pages"] = samples.strayed_pages;
  return reply;
}

}  // namespace

std::span<const TrialKind> trials() {
  static constexpr std::array<TrialKind, 1> kKinds = {{{"reset_loop", run_loop}}};
  return kKinds;
}

}  // namespace stasis::experiments::reset_loop
