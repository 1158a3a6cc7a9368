#include "session/calibration.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "core/clock.h"
#include "session/session.h"
#include "snapshot/trackers/tracker_catalog.h"
#include "snapshot/trackers/tracker_models.h"

namespace stasis::session {

namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20U;
constexpr std::uint64_t kPageBytes = 4096;
// Of which the guest's own is a part, and the numbered pages are the rest.
constexpr std::array<std::uint64_t, 2> kMemoryMib{80, 272};
constexpr std::uint64_t kOwnMib = 16;
constexpr std::array<std::uint64_t, 2> kDirtyPages{64, 4096};
// What a guest and its monitor write beside what they are told to: stacks, mailbox, the answer.
constexpr std::uint64_t kOwnPagesMax = 64;
constexpr int kRoundsMin = 3;
constexpr int kRoundsMax = 9;
constexpr std::chrono::nanoseconds kPatience = std::chrono::seconds(60);

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// How long the guest takes to write to so many pages, in nanoseconds of the host.
Result<double> time_writes(Session& guest, std::uint64_t mib, std::uint64_t pages) {
  const std::uint64_t all = (mib - kOwnMib) * kMiB / kPageBytes;
  const std::string request = "touch count=" + std::to_string(pages) +
                              " stride=" + std::to_string(all / pages) +
                              " order=random seed=9 write=1";
  const MonotonicNs begin = host_clock().now();
  STASIS_ASSIGN(const Response response,
                guest.request(std::as_bytes(std::span(request)), kPatience));
  const MonotonicNs end = host_clock().now();
  constexpr std::array kOk{std::byte{'o'}, std::byte{'k'}};
  if (response.bytes.size() < kOk.size() ||
      !std::equal(kOk.begin(), kOk.end(), response.bytes.begin())) {
    return Error{Errc::kGuestFault, 0, "calibration: the guest refused '" + request + "'"};
  }
  return static_cast<double>(end - begin);
}

// Several rounds of one tracker under a guest of one size.
struct Rounds {
  std::vector<double> arm_ns;
  std::array<std::vector<double>, 2> writes_ns, collect_ns;  // By kDirtyPages.
};

struct Corners {
  std::array<snapshot::CostSample, 2> by_dirty;  // By kDirtyPages.
};

// A guest of one size, and what its writes take when nothing tracks them.
struct Subject {
  std::uint64_t mib = 0;
  std::unique_ptr<Session> guest = {};
  std::array<double, 2> plain_ns = {};
};

Result<Subject> make_subject(HypervisorBackend& backend, std::uint64_t mib) {
  LaunchOptions launch;
  launch.guest = "pagetoucher";
  launch.memory_bytes = mib * kMiB;
  launch.huge_pages = HugePages::kNever;  // A page that is written is then one page.
  Subject subject{.mib = mib};
  STASIS_ASSIGN(subject.guest, Session::launch(backend, launch));
  STASIS_TRY(subject.guest->wait_ready(kPatience));
  // All pages exist, here and in the VM.
  STASIS_TRY(time_writes(*subject.guest, mib, (mib - kOwnMib) * kMiB / kPageBytes));
  for (std::size_t i = 0; i < kDirtyPages.size(); ++i) {
    std::vector<double> times;
    for (int round = 0; round < kRoundsMax; ++round) {
      STASIS_ASSIGN(const double ns, time_writes(*subject.guest, mib, kDirtyPages.at(i)));
      times.push_back(ns);
    }
    subject.plain_ns.at(i) = median(std::move(times));
  }
  return subject;
}

// kMismatch if it reported other pages than those that were written.
Result<void> one_round(Subject& subject, const std::string& tracker, Rounds& rounds) {
  STASIS_TRY(subject.guest->track(tracker, {}));
  for (std::size_t i = 0; i < kDirtyPages.size(); ++i) {
    const std::uint64_t pages = kDirtyPages.at(i);
    STASIS_ASSIGN(const double writes_ns, time_writes(*subject.guest, subject.mib, pages));
    STASIS_ASSIGN(const DirtyReport report, subject.guest->dirty());
    const std::uint64_t found = total_bytes(report.pages) / kPageBytes;
    if (found < pages || found > pages + kOwnPagesMax) {
      return Error{Errc::kMismatch, 0,
                   "it reported " + std::to_string(found) + " pages where the guest wrote to " +
                       std::to_string(pages)};
    }
    if (i == 0) {
      rounds.arm_ns.push_back(static_cast<double>(report.arm_ns));
    }
    rounds.writes_ns.at(i).push_back(writes_ns);
    rounds.collect_ns.at(i).push_back(static_cast<double>(report.collect_ns));
  }
  return {};
}

Result<Corners> measure(Subject& subject, const std::string& tracker,
                        std::chrono::nanoseconds budget, const std::atomic<bool>* cancel) {
  Rounds rounds;
  const MonotonicNs end = host_clock().now() + budget.count();
  for (int round = 0; round < kRoundsMax && (round < kRoundsMin || host_clock().now() < end);
       ++round) {
    if (cancel != nullptr && cancel->load(std::memory_order_relaxed)) {
      return Error{Errc::kIo, 0, "calibration: interrupted"};
    }
    STASIS_TRY(one_round(subject, tracker, rounds));
  }
  Corners corners;
  for (std::size_t i = 0; i < kDirtyPages.size(); ++i) {
    const std::uint64_t memory_pages = subject.mib * (kMiB / kPageBytes);
    corners.by_dirty.at(i) = {
        .memory_pages = static_cast<double>(memory_pages),
        .dirty_pages = static_cast<double>(kDirtyPages.at(i)),
        .arm_ns = median(rounds.arm_ns),
        .slowdown_ns = median(rounds.writes_ns.at(i)) - subject.plain_ns.at(i),
        .collect_ns = median(rounds.collect_ns.at(i))};
  }
  return corners;
}

// In an order in which none slows what comes after it: what leaves the page table alone first.
std::vector<std::string> trackers_to_measure(const Capabilities& capabilities,
                                             std::vector<Availability>& left_out) {
  std::vector<std::string> first;
  std::vector<std::string> others;
  for (const Availability& tracker : snapshot::list_trackers(capabilities)) {
    const snapshot::TrackerModel* const model = snapshot::find_tracker_model(tracker.name);
    if (model == nullptr || (!model->objection.empty() && tracker.name != "fork")) {
      continue;
    }
    if (!tracker.available) {
      left_out.push_back(tracker);
      continue;
    }
    const bool reads_only = model->means == snapshot::TrackerMeans::kContents;
    (reads_only ? first : others).push_back(tracker.name);
  }
  first.insert(first.end(), others.begin(), others.end());
  return first;
}

}  // namespace

Result<Calibration> calibrate_trackers(HypervisorBackend& backend,
                                       const CalibrationOptions& options) {
  if (backend.capabilities().architecture == Architecture::kToy) {
    return Error{Errc::kNotSupported, 0,
                 "calibration: the " + std::string(backend.name()) +
                     " backend runs no bare guests, and its time means nothing"};
  }
  Calibration calibration;
  const std::vector<std::string> trackers =
      trackers_to_measure(backend.capabilities(), calibration.left_out);
  const std::uint64_t total = trackers.size() * kMemoryMib.size();
  std::map<std::string, std::vector<Corners>> measured;
  std::uint64_t done = 0;
  for (const std::uint64_t mib : kMemoryMib) {
    STASIS_ASSIGN(Subject subject, make_subject(backend, mib));
    for (const std::string& tracker : trackers) {
      auto corners = measure(subject, tracker, options.budget / std::max<std::uint64_t>(total, 1),
                             options.cancel);
      if (corners) {
        measured[tracker].push_back(*corners);
      } else if (const Errc code = corners.error().code;
                 code == Errc::kMismatch || code == Errc::kNotSupported) {
        calibration.left_out.push_back({tracker, false, corners.error().message, ""});
      } else {
        return std::move(corners).error().with_context("calibrate tracker '" + tracker + "'");
      }
      if (options.progress) {
        options.progress(++done, total);
      }
    }
  }
  for (const std::string& tracker : trackers) {
    if (const std::vector<Corners>& at = measured[tracker]; at.size() == kMemoryMib.size()) {
      calibration.costs.trackers.emplace_back(
          tracker, snapshot::fit_costs(at[0].by_dirty[0], at[0].by_dirty[1], at[1].by_dirty[0],
                                       at[1].by_dirty[1]));
    }
  }
  return calibration;
}

}  // namespace stasis::session
