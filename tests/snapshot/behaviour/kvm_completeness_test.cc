// The completeness oracle over every tracker under KVM: random programs on several vCPUs, a device
// that writes beside them, several memory slots, and trackers that are armed in the middle of all
// that. Each difference, laid over its parent, must be what a full snapshot of the same pause is.
//
// STASIS_COMPLETENESS_EPOCHS sets how many epochs each case runs (twice_saved.h).
#include <iostream>
#include <ostream>
#include <random>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kvm/probe.h"
#include "snapshot/trackers/tracker_catalog.h"
#include "tests/snapshot/behaviour/scribbling_guest.h"
#include "tests/snapshot/behaviour/twice_saved.h"

namespace stasis::snapshot {
namespace {

using ::testing::IsEmpty;
using testing::Scribbler;
using testing::ScribblerConfig;

constexpr std::chrono::seconds kPause{30};

struct Case {
  std::string tracker;
  std::uint32_t vcpus = 1;
  std::uint32_t unprotect_pages = 1;
  BackingKind backing = BackingKind::kAnonymous;
  HugePages huge_pages = HugePages::kNever;
};

void PrintTo(const Case& c, std::ostream* out) {  // NOLINT(readability-identifier-naming)
  *out << c.tracker << ", " << c.vcpus << " vCPUs, " << c.unprotect_pages << " pages a fault, "
       << name_of(c.backing) << ", " << name_of(c.huge_pages) << " huge pages";
}

// Whatever the catalog has, so that no new tracker can be forgotten.
std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const Availability& tracker : list_trackers(Capabilities{})) {
    for (const std::uint32_t vcpus : {1U, 2U, 4U}) {
      cases.push_back({tracker.name, vcpus});
    }
    cases.push_back({tracker.name, 2, 16, BackingKind::kAnonymous, HugePages::kTransparent});
    const bool private_only =
        tracker.name == "residency" || tracker.name == "soft-dirty" || tracker.name == "fork";
    if (!private_only) {
      cases.push_back({tracker.name, 3, 8, BackingKind::kMemfd});
    }
  }
  return cases;
}

class CompletenessUnderKvm : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    kvm::Options options;
    options.slot_sizes = {1U << 20U, 1U << 20U};  // Many slots, registered while the guest runs.
    auto backend = kvm::make_backend(options);
    if (!backend) {
      GTEST_SKIP() << backend.error().to_string();
    }
    backend_ = *std::move(backend);
    const Case& parameters = GetParam();
    ScribblerConfig config;
    config.vcpus = parameters.vcpus;
    config.backing = parameters.backing;
    config.huge_pages = parameters.huge_pages;
    config.seed = parameters.vcpus * 31 + parameters.unprotect_pages;
    options_.unprotect_pages = parameters.unprotect_pages;
    options_.ring_entries = kDirtyRingEntriesMin;  // So small that rings run full.
    const auto ring = ring_entries_for(parameters.tracker, backend_->capabilities(), options_);
    if (!ring && ring.error().code == Errc::kNotSupported) {
      GTEST_SKIP() << ring.error().to_string();
    }
    ASSERT_TRUE(ring) << ring.error().to_string();
    config.dirty_ring_entries = *ring;
    auto guest = testing::make_scribbler(*backend_, config);
    ASSERT_TRUE(guest) << guest.error().to_string();
    guest_ = *std::move(guest);
    auto tracker = make_tracker(parameters.tracker, *guest_.machine, options_);
    if (!tracker && tracker.error().code == Errc::kNotSupported) {
      GTEST_SKIP() << tracker.error().to_string();
    }
    ASSERT_TRUE(tracker) << tracker.error().to_string();
    tracker_ = *std::move(tracker);
    random_.seed(config.seed);
  }
  void TearDown() override {
    tracker_.reset();  // Before the machine.
  }

  // Lets everybody write for a while.
  void run(std::uint64_t accesses) {
    const std::uint64_t before = guest_.device->accesses();
    ASSERT_TRUE(guest_.machine->resume());
    const bool came = guest_.device->await(before + accesses);
    const auto paused = guest_.machine->pause(kPause);
    ASSERT_TRUE(paused) << paused.error().to_string();
    if (!came) {
      const auto event = guest_.machine->wait_event(std::chrono::seconds(0));
      FAIL() << "the guest does not go on: "
             << (event ? event->message : event.error().to_string());
    }
  }
  void host_writes() {
    for (std::uint64_t i = random_() % 4; i > 0; --i) {
      const GpaRange range = guest_.data[random_() % guest_.data.size()];
      const std::vector<std::byte> bytes(1 + random_() % 9000, static_cast<std::byte>(random_()));
      ASSERT_TRUE(guest_.machine->memory().write(
          range.begin + random_() % (range.size - bytes.size() + 1), bytes));
    }
  }

  std::unique_ptr<HypervisorBackend> backend_;
  TrackerOptions options_;
  Scribbler guest_;
  std::unique_ptr<DirtyTracker> tracker_;
  std::mt19937_64 random_;
};

TEST_P(CompletenessUnderKvm, NoDifferenceMissesAPage) {
  testing::TwiceSaved saves(*guest_.machine);
  DirtyAccumulator dirty(*guest_.machine, *tracker_);
  std::uint64_t changed = 0;
  std::uint64_t reported = 0;
  std::uint64_t unchanged = 0;
  bool armed = false;
  const std::uint32_t epochs = testing::completeness_epochs(4);
  for (std::uint32_t epoch = 0; epoch < epochs; ++epoch) {
    // At first before the guest has run at all, then in the middle of its work.
    if (!armed || random_() % 3 == 0) {
      if (armed) {
        ASSERT_TRUE(dirty.disarm());
        run(1 + random_() % 20);
      }
      const auto saved = saves.save_parent();
      ASSERT_TRUE(saved) << saved.error().to_string();
      const auto result = dirty.arm();
      ASSERT_TRUE(result) << result.error().to_string();
      armed = true;
    }
    ASSERT_NO_FATAL_FAILURE(run(1 + random_() % (random_() % 2 == 0 ? 10 : 300)));
    ASSERT_NO_FATAL_FAILURE(host_writes());
    const auto report = saves.save_twice(dirty);
    ASSERT_TRUE(report) << report.error().to_string();
    EXPECT_TRUE(report->complete()) << "epoch " << epoch;
    EXPECT_THAT(report->missed, IsEmpty()) << "epoch " << epoch;
    EXPECT_THAT(report->wrong, IsEmpty()) << "epoch " << epoch;
    EXPECT_THAT(report->state, IsEmpty()) << "epoch " << epoch;
    changed += total_bytes(report->changed);
    reported += total_bytes(report->reported);
    unchanged += total_bytes(report->unchanged);
  }
  EXPECT_GT(changed, 0U) << "the test would prove nothing";
  RecordProperty("changed_pages", std::to_string(changed / 4096));
  RecordProperty("false_positive_pages", std::to_string(unchanged / 4096));
  std::cout << "[ oracle   ] " << epochs << " epochs: " << changed / 4096 << " pages changed, "
            << reported / 4096 << " reported, " << unchanged / 4096 << " of them unchanged\n";
  ASSERT_TRUE(dirty.disarm());
}

// Collected again and again while everybody writes: what one collection has too early the next one
// has in time.
TEST_P(CompletenessUnderKvm, LosesNothingBetweenCollectionsWhileVcpusRun) {
  if (!tracker_->traits().collects_while_running) {
    EXPECT_FALSE(promised_traits(GetParam().tracker, backend_->capabilities(), options_)
                     .collects_while_running);
    return;
  }
  Machine& machine = *guest_.machine;
  auto compare = *make_tracker("compare", machine);
  ASSERT_NO_FATAL_FAILURE(run(30));
  ASSERT_TRUE(compare->arm());
  const auto armed = machine.arm_dirty(*tracker_);
  ASSERT_TRUE(armed) << armed.error().to_string();
  for (std::uint32_t epoch = 0; epoch < testing::completeness_epochs(3); ++epoch) {
    GpaRanges seen;
    ASSERT_TRUE(machine.resume());
    for (int i = 0; i < 6; ++i) {
      const auto some = tracker_->collect();
      ASSERT_TRUE(some) << some.error().to_string();
      seen = unite(seen, *some);
      ASSERT_TRUE(guest_.device->await(guest_.device->accesses() + 1));
    }
    ASSERT_TRUE(machine.pause(kPause));
    const auto rest = machine.collect_dirty(*tracker_);
    ASSERT_TRUE(rest) << rest.error().to_string();
    const GpaRanges changed = *compare->collect();
    EXPECT_THAT(changed, ::testing::Not(IsEmpty()));
    EXPECT_THAT(subtract(changed, unite(seen, *rest)), IsEmpty()) << "epoch " << epoch;
  }
  ASSERT_TRUE(machine.disarm_dirty(*tracker_));
}

INSTANTIATE_TEST_SUITE_P(OnKvm, CompletenessUnderKvm, ::testing::ValuesIn(all_cases()));

}  // namespace
}  // namespace stasis::snapshot
