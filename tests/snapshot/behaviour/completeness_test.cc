// The completeness oracle over every tracker of the mock: each differential snapshot, laid over its
// parent, against a full snapshot of the same pause. Random programs on 1 to 4 vCPUs store across
// pages and regions with holes between; the host writes in between, also across pages.
//
// STASIS_COMPLETENESS_EPOCHS sets how many epochs each case runs (twice_saved.h).
#include <ostream>
#include <random>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/capture.h"
#include "snapshot/operations.h"
#include "snapshot/trackers/tracker_catalog.h"
#include "tests/snapshot/behaviour/toy_machine.h"
#include "tests/snapshot/behaviour/twice_saved.h"

namespace stasis::snapshot {
namespace {

using ::testing::IsEmpty;
using testing::make_toy_machine;
using testing::ToyConfig;
using testing::ToyMachine;
using testing::TwiceSaved;

// A toy machine whose memory is saved twice in each pause.
class SavedToy {
 public:
  explicit SavedToy(const ToyConfig& config)
      : config_(config),
        random_(config.seed),
        toy_(make_toy_machine(config)),
        saves(*toy_.machine) {}

  Machine& machine() { return *toy_.machine; }

  // Lets guest and host write.
  Result<void> run_epoch() {
    if (random_() % 2 == 0) {
      STASIS_TRY(machine().step(random_() % 1500));
    } else {
      const std::size_t before = toy_.output->output().size();
      STASIS_TRY(machine().resume());
      while (toy_.output->output().size() < before + 3) {
        std::this_thread::yield();
      }
      STASIS_TRY(machine().pause(std::chrono::seconds(20)));
    }
    const std::vector<GpaRange> data = testing::toy_layout(config_).data;
    for (std::uint64_t i = random_() % 4; i > 0; --i) {
      const GpaRange range = data[random_() % data.size()];
      const std::vector<std::byte> bytes(1 + random_() % 6000, static_cast<std::byte>(random_()));
      STASIS_TRY(
          machine().memory().write(range.begin + random_() % (range.size - bytes.size()), bytes));
    }
    return {};
  }

 private:
  ToyConfig config_;
  std::mt19937_64 random_;
  ToyMachine toy_;

 public:
  TwiceSaved saves;  // Borrows the machine.
};

struct Case {
  std::string tracker;
  std::uint32_t vcpus = 1;
  std::uint32_t unprotect_pages = 1;
  std::uint64_t page_size_bytes = 4096;
  BackingKind backing = BackingKind::kAnonymous;
};

void PrintTo(const Case& c, std::ostream* out) {  // NOLINT(readability-identifier-naming)
  *out << c.tracker << ", " << c.vcpus << " vCPUs, " << c.unprotect_pages << " pages a fault, "
       << c.page_size_bytes << "-byte pages, " << name_of(c.backing);
}

// Whatever the catalog has, so that no new tracker can be forgotten.
std::vector<Case> all_cases() {
  const auto backend = testing::make_toy_backend({});
  std::vector<Case> cases;
  for (const Availability& tracker : list_trackers(backend->capabilities())) {
    if (tracker.name == name_of(DirtyLogKind::kManualClear) ||
        tracker.name == name_of(DirtyLogKind::kRing)) {
      continue;  // The mock has no such logs.
    }
    for (const std::uint32_t vcpus : {1U, 2U, 3U, 4U}) {
      cases.push_back({tracker.name, vcpus});
    }
    cases.push_back({tracker.name, 2, 8, 16384});
    const bool private_only =
        tracker.name == "residency" || tracker.name == "soft-dirty" || tracker.name == "fork";
    if (!private_only) {  // They refuse shared memory.
      cases.push_back({tracker.name, 2, 16, 4096, BackingKind::kMemfd});
    }
  }
  return cases;
}

class CompletenessOfTracker : public ::testing::TestWithParam<Case> {};

TEST_P(CompletenessOfTracker, NoDifferenceMissesAPage) {
  const Case& parameters = GetParam();
  ToyConfig config;
  config.vcpus = parameters.vcpus;
  config.page_size_bytes = parameters.page_size_bytes;
  config.backing = parameters.backing;
  config.data_pages = 24;
  config.operations = 60;
  config.seed = parameters.vcpus * 31 + parameters.unprotect_pages;
  SavedToy saved(config);
  auto tracker =
      make_tracker(parameters.tracker, saved.machine(), TrackerOptions{parameters.unprotect_pages});
  if (!tracker && tracker.error().code == Errc::kNotSupported) {
    GTEST_SKIP() << tracker.error().to_string();
  }
  ASSERT_TRUE(tracker) << tracker.error().to_string();
  DirtyAccumulator dirty(saved.machine(), **tracker);
  ASSERT_TRUE(saved.saves.save_parent());
  const auto armed = dirty.arm();
  ASSERT_TRUE(armed) << armed.error().to_string();
  std::uint64_t changed = 0;
  std::uint64_t unchanged = 0;
  for (std::uint32_t epoch = 0; epoch < testing::completeness_epochs(4); ++epoch) {
    const auto ran = saved.run_epoch();
    ASSERT_TRUE(ran) << ran.error().to_string();
    const auto report = saved.saves.save_twice(dirty);
    ASSERT_TRUE(report) << report.error().to_string();
    EXPECT_TRUE(report->complete());
    EXPECT_THAT(report->missed, IsEmpty()) << "in epoch " << epoch;
    EXPECT_THAT(report->wrong, IsEmpty()) << "in epoch " << epoch;
    changed += total_bytes(report->changed);
    unchanged += total_bytes(report->unchanged);
  }
  EXPECT_GT(changed, 0U) << "the test would prove nothing";
  RecordProperty("false_positive_bytes", std::to_string(unchanged));
  ASSERT_TRUE(dirty.disarm());
}

INSTANTIATE_TEST_SUITE_P(OnTheMock, CompletenessOfTracker, ::testing::ValuesIn(all_cases()));

// Loses the first page of every collection.
class ForgetfulTracker final : public DirtyTracker {
 public:
  explicit ForgetfulTracker(std::unique_ptr<DirtyTracker> honest) : honest_(std::move(honest)) {}
  [[nodiscard]] const TrackerTraits& traits() const override { return honest_->traits(); }
  Result<void> arm() override { return honest_->arm(); }
  Result<GpaRanges> collect() override {
    STASIS_ASSIGN(const GpaRanges dirty, honest_->collect());
    if (dirty.empty()) {
      return dirty;
    }
    lost = GpaRange{dirty.front().begin, 4096};
    return subtract(dirty, {lost});
  }
  Result<void> disarm() override { return honest_->disarm(); }
  WriteFaultHandler* write_fault_handler() override { return nullptr; }
  GpaRange lost;

 private:
  std::unique_ptr<DirtyTracker> honest_;
};

TEST(Completeness, APageThatATrackerForgetsIsFound) {
  SavedToy saved(ToyConfig{.data_pages = 24});
  ForgetfulTracker tracker(*make_tracker("compare", saved.machine()));
  DirtyAccumulator dirty(saved.machine(), tracker);
  ASSERT_TRUE(saved.saves.save_parent());
  ASSERT_TRUE(dirty.arm());
  ASSERT_TRUE(saved.machine().step(1000));
  const auto report = saved.saves.save_twice(dirty);
  ASSERT_TRUE(report) << report.error().to_string();
  EXPECT_FALSE(report->complete());
  EXPECT_EQ(report->missed, GpaRanges{tracker.lost});
  EXPECT_THAT(report->wrong, IsEmpty());
  EXPECT_THAT(report->state, IsEmpty());
}

TEST(Completeness, SnapshotsOfDifferentPausesAreToldApart) {
  SavedToy saved(ToyConfig{.data_pages = 24});
  const auto tracker = *make_tracker("compare", saved.machine());
  DirtyAccumulator dirty(saved.machine(), *tracker);
  ASSERT_TRUE(saved.saves.save_parent());
  ASSERT_TRUE(dirty.arm());
  ASSERT_TRUE(saved.machine().step(1000));
  MemoryFileSystem& files = saved.saves.files();
  const auto parent = *SnapshotChain::open(files, "/parent");
  ASSERT_TRUE(
      capture_diff(saved.machine(), dirty, files, "/early", TwiceSaved::options(parent.get())));
  ASSERT_TRUE(saved.machine().step(1));
  ASSERT_TRUE(capture_full(saved.machine(), files, "/late", TwiceSaved::options(nullptr)));
  const auto report = verify_diff(files, **SnapshotChain::open(files, "/early"),
                                  **SnapshotChain::open(files, "/late"), 1, {});
  ASSERT_TRUE(report) << report.error().to_string();
  EXPECT_FALSE(report->complete());
  EXPECT_THAT(report->state, ::testing::Not(IsEmpty()));
}

TEST(Completeness, PagesThatWereWrittenWithWhatTheyHeldAreCounted) {
  SavedToy saved(ToyConfig{.data_pages = 24});
  const auto tracker = *make_tracker("dirty-log", saved.machine());
  DirtyAccumulator dirty(saved.machine(), *tracker);
  ASSERT_TRUE(saved.saves.save_parent());
  ASSERT_TRUE(dirty.arm());
  const Gpa page = testing::toy_layout(ToyConfig{.data_pages = 24}).data.back().begin;
  ASSERT_TRUE(saved.machine().memory().write_object(page, std::uint64_t{0}));
  const auto report = saved.saves.save_twice(dirty);
  ASSERT_TRUE(report) << report.error().to_string();
  EXPECT_TRUE(report->complete());
  EXPECT_EQ(report->unchanged, (GpaRanges{{page, 4096}}));
  EXPECT_THAT(report->changed, IsEmpty());
}

TEST(Completeness, OfAFullSnapshotIsNotAsked) {
  SavedToy saved(ToyConfig{.data_pages = 24});
  ASSERT_TRUE(saved.saves.save_parent());
  const auto full = *SnapshotChain::open(saved.saves.files(), "/parent");
  const auto report = verify_diff(saved.saves.files(), *full, *full, 1, {});
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::kInvalidArgument);
}

}  // namespace
}  // namespace stasis::snapshot
