// One trial: a guest, or bare KVM, writes to the same pages before, under and after a tracker.
#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "core/clock.h"
#include "core/ranges.h"
#include "experiments/dirty_tracking/dirty_tracking.h"
#include "experiments/floor/bare_writer.h"
#include "experiments/floor/fresh_memory.h"
#include "experiments/floor/raw_trackers.h"
#include "experiments/trials/guest_trial.h"
#include "guests/programs/pagetoucher_content.h"
#include "session/backends.h"
#include "session/calibration_file.h"
#include "session/tsc_clock.h"

namespace stasis::experiments::dirty_tracking {
namespace {

using session::Session;

constexpr std::uint64_t kPageBytes = 4096;
constexpr std::uint64_t kOrderSeed = 9;

// Nanoseconds of cycles of the host's counter, which guests' advance as; by two readings of counter
// and clock that are the whole trial apart.
class CycleClock {
 public:
  CycleClock() : begin_(session::take_tsc_anchor()) {}
  // Nothing where there is no such counter.
  [[nodiscard]] std::optional<double> ns_per_cycle() const {
    const auto end = session::take_tsc_anchor();
    if (!begin_ || !end || end->tsc <= begin_->tsc) {
      return std::nullopt;
    }
    return number(end->at - begin_->at) / number(end->tsc - begin_->tsc);
  }

 private:
  std::optional<session::TscAnchor> begin_;
};

// What was measured, times of writes in the unit of `write_unit_ns`.
struct Epochs {
  double plain = 0, touched = 0, repeated = 0, rearmed = 0;
  std::int64_t arm_ns = 0, collect_ns = 0, recollect_ns = 0;
  std::uint64_t found = 0, refound = 0;
};

TrialReply reply_of(const Epochs& epochs, double write_unit_ns, std::uint64_t pages,
                    bool is_tracked) {
  TrialReply reply;
  const double plain = epochs.plain * write_unit_ns;
  const double touched = epochs.touched * write_unit_ns;
  const double rearmed = epochs.rearmed * write_unit_ns;
  const double epoch = rearmed + number(epochs.recollect_ns);
  reply.metrics = {{"plain_ns", plain},
                   {"touched_ns", touched},
                   {"repeated_ns", epochs.repeated * write_unit_ns},
                   {"rearmed_ns", rearmed},
                   {"epoch_ns", epoch},
                   {"pages", number(pages)}};
  if (is_tracked) {
    reply.metrics["extra_ns"] = std::max(0.0, epoch - plain);
    reply.metrics["first_write_ns"] = std::max(0.0, touched - plain) / number(pages);
    reply.metrics["arm_ns"] = number(epochs.arm_ns);
    reply.metrics["whole_ns"] = number(epochs.arm_ns) + touched + number(epochs.collect_ns);
    reply.metrics["collect_ns"] = number(epochs.collect_ns);
    reply.metrics["recollect_ns"] = number(epochs.recollect_ns);
    reply.metrics["found_pages"] = number(epochs.found);
    reply.metrics["refound_pages"] = number(epochs.refound);
  }
  return reply;
}

// Cycles of the guest, or nanoseconds of the host for a guest that counts none.
Result<double> time_request(Session& guest, const std::string& request, bool in_cycles) {
  const MonotonicNs begin = host_clock().now();
  STASIS_ASSIGN(const std::string answer, ask(guest, request));
  if (!in_cycles) {
    return number(host_clock().now() - begin);
  }
  STASIS_ASSIGN(const std::uint64_t cycles, number_in(answer, "cycles"));
  return number(cycles);
}

// What "auto" is told: the truth about what will be written, and what is known of this host.
snapshot::TrackerOptions tracker_options(const std::string& tracker, std::uint64_t pages,
                                         const Capabilities& capabilities) {
  snapshot::TrackerOptions options;
  if (tracker == snapshot::kAutoTracker) {
    options.expected_dirty_bytes = pages * kPageBytes;
    options.costs = session::known_costs(capabilities).costs;
  }
  return options;
}

Result<TrialReply> track(const TrialRequest& request) {
  STASIS_ASSIGN(const auto backend, session::make_backend(request.text("backend", "auto")));
  const std::string tracker = request.text("tracker");
  const bool is_tracked = tracker != kUntracked;
  STASIS_ASSIGN(session::LaunchOptions launch, launch_options(request));
  launch.huge_pages = HugePages::kNever;  // A page that is written is then one page.
  if (is_tracked) {
    launch.tracker = tracker;
  }
  STASIS_ASSIGN(const std::unique_ptr<Session> guest, Session::launch(*backend, launch));
  STASIS_TRY(guest->wait_ready(kPatience));
  const CycleClock clock;
  const bool in_cycles = clock.ns_per_cycle().has_value() && request.text("cycles", "yes") == "yes";
  STASIS_TRY(ask(*guest, request.text("warm")));  // All pages exist, here and in the VM.
  const std::string touch = request.text("request");
  STASIS_ASSIGN(const std::uint64_t pages, request.number("pages", 1));
  Epochs epochs;
  STASIS_TRY(ask(*guest, touch));
  STASIS_ASSIGN(epochs.plain, time_request(*guest, touch, in_cycles));
  if (is_tracked) {
    STASIS_TRY(guest->track(tracker, tracker_options(tracker, pages, backend->capabilities())));
  }
  STASIS_ASSIGN(epochs.touched, time_request(*guest, touch, in_cycles));
  STASIS_ASSIGN(epochs.repeated, time_request(*guest, touch, in_cycles));
  if (is_tracked) {
    STASIS_ASSIGN(const session::DirtyReport report, guest->dirty());
    epochs.arm_ns = report.arm_ns;
    epochs.collect_ns = report.collect_ns;
    epochs.found = total_bytes(report.pages) / kPageBytes;
  }
  STASIS_ASSIGN(epochs.rearmed, time_request(*guest, touch, in_cycles));
  if (is_tracked) {
    STASIS_ASSIGN(const session::DirtyReport report, guest->dirty());
    epochs.recollect_ns = report.collect_ns;
    epochs.refound = total_bytes(report.pages) / kPageBytes;
  }
  return reply_of(epochs, in_cycles ? clock.ns_per_cycle().value_or(1) : 1, pages, is_tracked);
}

std::vector<std::uint64_t> page_list(std::uint64_t pages, std::uint64_t stride) {
  const guest::pagetoucher::Permutation order(pages, kOrderSeed);
  std::vector<std::uint64_t> list(pages);
  for (std::uint64_t i = 0; i < pages; ++i) {
    list[i] = BareWriter::kFirstPage + order.slot(i) * stride;
  }
  return list;
}

Result<TrialReply> raw_track(const TrialRequest& request) {
  STASIS_ASSIGN(const std::uint64_t bytes, request.number("memory_bytes", 0));
  STASIS_ASSIGN(const std::uint64_t pages, request.number("pages", 1));
  STASIS_ASSIGN(const std::uint64_t stride, request.number("stride", 1));
  const std::string mechanism = request.text("mechanism");
  const bool is_tracked = mechanism != kUntracked;
  STASIS_ASSIGN(const FreshMemory memory, FreshMemory::map(Backing::kSmallPages, bytes));
  memory.touch();
  STASIS_ASSIGN(const std::unique_ptr<BareWriter> writer,
                BareWriter::create(memory.bytes(), kernel_log_of(mechanism)));
  std::unique_ptr<RawTracker> tracker;
  if (is_tracked) {
    STASIS_ASSIGN(tracker, make_raw_tracker(mechanism, memory.bytes(), *writer));
  }
  const CycleClock clock;
  const std::vector<std::uint64_t> list = page_list(pages, stride);
  const auto write = [&]() -> Result<double> {
    STASIS_ASSIGN(const std::uint64_t cycles, writer->write(list));
    return number(cycles);
  };
  Epochs epochs;
  STASIS_TRY(write());
  STASIS_ASSIGN(epochs.plain, write());
  MonotonicNs begin = host_clock().now();
  if (is_tracked) {
    STASIS_TRY(tracker->arm());
    epochs.arm_ns = host_clock().now() - begin;
  }
  STASIS_ASSIGN(epochs.touched, write());
  STASIS_ASSIGN(epochs.repeated, write());
  if (is_tracked) {
    begin = host_clock().now();
    STASIS_ASSIGN(epochs.found, tracker->collect());
    epochs.collect_ns = host_clock().now() - begin;
  }
  STASIS_ASSIGN(epochs.rearmed, write());
  if (is_tracked) {
    begin = host_clock().now();
    STASIS_ASSIGN(epochs.refound, tracker->collect());
    epochs.recollect_ns = host_clock().now() - begin;
  }
  const std::optional<double> ns_per_cycle = clock.ns_per_cycle();
  if (!ns_per_cycle) {
    return Error{.code = Errc::kNotSupported, .message = "this host has no time-stamp counter"};
  }
  return reply_of(epochs, *ns_per_cycle, pages, is_tracked);
}

}  // namespace

std::span<const TrialKind> trials() {
  static constexpr std::array<TrialKind, 2> kKinds = {{{"track", track}, {"raw_track", raw_track}}};
  return kKinds;
}

}  // namespace stasis::experiments::dirty_tracking
