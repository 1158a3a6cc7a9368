// Live captures of KVM guests of 1 to 4 vCPUs that never stop writing, with a device that writes
// beside them: equal to a stop-the-world snapshot of the same moment.
//
// STASIS_LIVE_CAPTURES sets how many captures each case makes (live_case.h).
#include <fstream>
#include <iostream>
#include <optional>
#include <ostream>
#include <random>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kvm/probe.h"
#include "snapshot/trackers/tracker_catalog.h"
#include "tests/snapshot/behaviour/scribbling_guest.h"
#include "tests/snapshot/live/live_case.h"

namespace stasis::snapshot {
namespace {

using ::testing::IsEmpty;
using testing::LiveCase;
using testing::Scribbler;
using testing::ScribblerConfig;

constexpr std::chrono::seconds kPause{30};

struct Case {
  std::string mechanism;
  std::uint32_t vcpus = 1;
  std::string tracker = {};  // Differential captures with it.
  HugePages huge_pages = HugePages::kNever;
  BackingKind backing = BackingKind::kAnonymous;
  std::uint64_t buffer_bytes = std::uint64_t{64} << 20U;
};

void PrintTo(const Case& c, std::ostream* out) {  // NOLINT(readability-identifier-naming)
  *out << c.mechanism << ", " << c.vcpus << " vCPUs, "
       << (c.tracker.empty() ? "full" : "tracker " + c.tracker) << ", " << name_of(c.huge_pages)
       << " huge pages, " << name_of(c.backing) << ", " << c.buffer_bytes << " bytes of buffer";
}

// Enough for a scribbler; most hosts have none.
bool has_reserved_huge_pages() {
  std::ifstream file("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
  int pages = 0;
  file >> pages;
  return pages >= 16;
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const char* const mechanism : {"userfaultfd", "fork"}) {
    for (const std::uint32_t vcpus : {1U, 2U, 4U}) {
      cases.push_back({mechanism, vcpus});
    }
    cases.push_back({mechanism, 2, "", HugePages::kTransparent});
    cases.push_back({mechanism, 2, "dirty-log"});
    cases.push_back({mechanism, 3, "compare", HugePages::kTransparent});
  }
  cases.push_back({"userfaultfd", 2, "", HugePages::kNever, BackingKind::kMemfd});
  cases.push_back({"userfaultfd", 2, "", HugePages::kTransparent, BackingKind::kMemfd});
  cases.push_back({"userfaultfd", 2, "", HugePages::kNever, BackingKind::kAnonymous, 64U << 10U});
  if (has_reserved_huge_pages()) {
    cases.push_back({"userfaultfd", 2, "", HugePages::kHugetlb});
    cases.push_back({"userfaultfd", 2, "dirty-log", HugePages::kHugetlb});
  }
  cases.push_back({"userfaultfd", 2, "dirty-ring"});
  cases.push_back({"userfaultfd", 2, "dirty-log-manual", HugePages::kTransparent});
  cases.push_back({"auto", 2, "userfaultfd"});
  cases.push_back({"auto", 2, "pagemap-scan", HugePages::kTransparent});
  return cases;
}

class LiveCaptureUnderKvm : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    auto backend = kvm::make_backend({});
    if (!backend) {
      GTEST_SKIP() << backend.error().to_string();
    }
    backend_ = *std::move(backend);
    const Case& parameters = GetParam();
    ScribblerConfig config;
    config.vcpus = parameters.vcpus;
    config.huge_pages = parameters.huge_pages;
    config.backing = parameters.backing;
    config.seed = parameters.vcpus * 13 + parameters.mechanism.size();
    const auto ring = ring_entries_for(parameters.tracker, backend_->capabilities(), {});
    if (!ring && ring.error().code == Errc::kNotSupported) {
      GTEST_SKIP() << ring.error().to_string();
    }
    ASSERT_TRUE(ring) << ring.error().to_string();
    config.dirty_ring_entries = *ring;
    auto guest = testing::make_scribbler(*backend_, config);
    ASSERT_TRUE(guest) << guest.error().to_string();
    guest_ = *std::move(guest);
    saves_.emplace(*guest_.machine);
    saves_->live.mechanism = parameters.mechanism;
    saves_->live.buffer_bytes = parameters.buffer_bytes;
    if (!parameters.tracker.empty()) {
      auto tracker = make_tracker(parameters.tracker, *guest_.machine);
      if (!tracker && tracker.error().code == Errc::kNotSupported) {
        GTEST_SKIP() << tracker.error().to_string();
      }
      ASSERT_TRUE(tracker) << tracker.error().to_string();
      tracker_ = *std::move(tracker);
      dirty_.emplace(*guest_.machine, *tracker_);
      saves_->dirty = &*dirty_;
      saves_->tracker = tracker_.get();
      const auto armed = saves_->save_parent();
      ASSERT_TRUE(armed) << armed.error().to_string();
    }
    ASSERT_TRUE(guest_.machine->resume());
  }
  void TearDown() override {
    saves_.reset();
    if (dirty_ && guest_.machine->pause(kPause)) {
      EXPECT_TRUE(dirty_->disarm());
    }
    dirty_.reset();
    tracker_.reset();
  }

  void await_guest(std::uint64_t accesses) {
    ASSERT_TRUE(guest_.device->await(guest_.device->accesses() + accesses))
        << "the guest does not go on";
  }

  std::unique_ptr<HypervisorBackend> backend_;
  Scribbler guest_;
  std::optional<LiveCase> saves_;
  std::unique_ptr<DirtyTracker> tracker_;
  std::optional<DirtyAccumulator> dirty_;
  std::mt19937_64 random_{11};
};

TEST_P(LiveCaptureUnderKvm, IsWhatAStillOneOfTheSameMomentIs) {
  std::uint64_t overwritten = 0;
  const std::uint32_t captures = testing::live_captures(3);
  for (std::uint32_t i = 0; i < captures; ++i) {
    ASSERT_NO_FATAL_FAILURE(await_guest(1 + random_() % 30));
    if (GetParam().tracker.empty()) {
      const auto report = saves_->full_pair();
      if (!report && report.error().code == Errc::kNotSupported) {
        GTEST_SKIP() << report.error().to_string();
      }
      ASSERT_TRUE(report) << report.error().to_string();
      EXPECT_THAT(report->pages, IsEmpty()) << "capture " << i;
      EXPECT_THAT(report->fields, IsEmpty()) << "capture " << i;
    } else {
      const auto report = saves_->diff_pair();
      if (!report && report.error().code == Errc::kNotSupported) {
        GTEST_SKIP() << report.error().to_string();
      }
      ASSERT_TRUE(report) << report.error().to_string();
      EXPECT_THAT(report->missed, IsEmpty()) << "capture " << i;
      EXPECT_THAT(report->wrong, IsEmpty()) << "capture " << i;
      EXPECT_THAT(report->state, IsEmpty()) << "capture " << i;
      EXPECT_THAT(report->changed, ::testing::Not(IsEmpty()));
    }
    ASSERT_FALSE(guest_.machine->is_paused());
    if (saves_->last().mechanism != "fork") {
      EXPECT_GT(saves_->last().counters.write_faults, 0U) << "the test would prove nothing";
    }
    overwritten += saves_->last().counters.copied_bytes;
  }
  ASSERT_NO_FATAL_FAILURE(await_guest(5));
  const auto event = guest_.machine->wait_event(std::chrono::seconds(0));
  EXPECT_FALSE(event) << event->message;
  std::cout << "[ oracle   ] " << captures << " captures: " << overwritten / 4096
            << " pages were overwritten while they were written out\n";
}

INSTANTIATE_TEST_SUITE_P(OnKvm, LiveCaptureUnderKvm, ::testing::ValuesIn(all_cases()));

}  // namespace
}  // namespace stasis::snapshot
