// The completeness oracle over every tracker of the mock: each differential snapshot, laid over its
// parent, against a full snapshot of the same pause. Random programs on 1 to 4 vCPUs store across
// pages and regions with holes between; the host writes in between, also across pages.
//
// STASIS_COMPLETENESS_EPOCHS sets how many epochs each case runs, for more than a quick look.
#include <charconv>
#include <cstdlib>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/capture.h"
#include "snapshot/operations.h"
#include "snapshot/trackers/tracker_catalog.h"
#include "tests/snapshot/behaviour/toy_machine.h"
#include "tests/snapshot/memory_file_system.h"

namespace stasis::snapshot {
namespace {

using ::testing::IsEmpty;
using testing::make_toy_machine;
using testing::ToyConfig;
using testing::ToyMachine;

std::uint32_t epochs() {
  std::uint32_t count = 4;
  if (const char* const text = std::getenv("STASIS_COMPLETENESS_EPOCHS"); text != nullptr) {
    const std::string_view digits(text);
    std::from_chars(digits.data(), digits.data() + digits.size(), count);
  }
  return count;
}

// A machine whose memory is saved twice in each pause.
class TwiceSaved {
 public:
  explicit TwiceSaved(const ToyConfig& config)
      : config_(config), random_(config.seed), toy_(make_toy_machine(config)) {}

  Machine& machine() { return *toy_.machine; }
  MemoryFileSystem& files() { return files_; }

  Result<void> save_parent() {
    STASIS_TRY(capture_full(machine(), files_, parent_, options(nullptr)));
    return {};
  }

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

  // The full snapshot is the parent of the next difference.
  Result<CompletenessReport> save_twice(DirtyAccumulator& dirty) {
    STASIS_ASSIGN(const auto parent, SnapshotChain::open(files_, parent_));
    const std::string difference = "/difference" + std::to_string(count_);
    const std::string full = "/full" + std::to_string(count_);
    ++count_;
    STASIS_TRY(capture_diff(machine(), dirty, files_, difference, options(parent.get())));
    STASIS_TRY(capture_full(machine(), files_, full, options(nullptr)));
    STASIS_ASSIGN(const auto difference_chain, SnapshotChain::open(files_, difference));
    STASIS_ASSIGN(const auto full_chain, SnapshotChain::open(files_, full));
    parent_ = full;
    return verify_diff(files_, *difference_chain, *full_chain, 1, {});
  }

  [[nodiscard]] static CaptureOptions options(const SnapshotChain* parent) {
    CaptureOptions options;
    options.creator = "completeness test";
    options.writer.parent = parent;
    options.writer.threads = 1;
    options.writer.layout = Layout::kPacked;
    return options;
  }

 private:
  ToyConfig config_;
  std::mt19937_64 random_;
  MemoryFileSystem files_;
  ToyMachine toy_;
  std::string parent_ = "/parent";
  std::uint32_t count_ = 0;
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
    for (const std::uint32_t vcpus : {1U, 2U, 3U, 4U}) {
      cases.push_back({tracker.name, vcpus});
    }
    cases.push_back({tracker.name, 2, 8, 16384});
    if (tracker.name != "residency") {  // It refuses shared memory.
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
  TwiceSaved saved(config);
  auto tracker =
      make_tracker(parameters.tracker, saved.machine(), TrackerOptions{parameters.unprotect_pages});
  if (!tracker && tracker.error().code == Errc::kNotSupported) {
    GTEST_SKIP() << tracker.error().to_string();
  }
  ASSERT_TRUE(tracker) << tracker.error().to_string();
  DirtyAccumulator dirty(saved.machine(), **tracker);
  ASSERT_TRUE(saved.save_parent());
  const auto armed = dirty.arm();
  ASSERT_TRUE(armed) << armed.error().to_string();
  std::uint64_t changed = 0;
  std::uint64_t unchanged = 0;
  for (std::uint32_t epoch = 0; epoch < epochs(); ++epoch) {
    const auto ran = saved.run_epoch();
    ASSERT_TRUE(ran) << ran.error().to_string();
    const auto report = saved.save_twice(dirty);
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
  TwiceSaved saved(ToyConfig{.data_pages = 24});
  ForgetfulTracker tracker(*make_tracker("compare", saved.machine()));
  DirtyAccumulator dirty(saved.machine(), tracker);
  ASSERT_TRUE(saved.save_parent());
  ASSERT_TRUE(dirty.arm());
  ASSERT_TRUE(saved.machine().step(1000));
  const auto report = saved.save_twice(dirty);
  ASSERT_TRUE(report) << report.error().to_string();
  EXPECT_FALSE(report->complete());
  EXPECT_EQ(report->missed, GpaRanges{tracker.lost});
  EXPECT_THAT(report->wrong, IsEmpty());
  EXPECT_THAT(report->state, IsEmpty());
}

TEST(Completeness, SnapshotsOfDifferentPausesAreToldApart) {
  TwiceSaved saved(ToyConfig{.data_pages = 24});
  const auto tracker = *make_tracker("compare", saved.machine());
  DirtyAccumulator dirty(saved.machine(), *tracker);
  ASSERT_TRUE(saved.save_parent());
  ASSERT_TRUE(dirty.arm());
  ASSERT_TRUE(saved.machine().step(1000));
  MemoryFileSystem& files = saved.files();
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
  TwiceSaved saved(ToyConfig{.data_pages = 24});
  const auto tracker = *make_tracker("dirty-log", saved.machine());
  DirtyAccumulator dirty(saved.machine(), *tracker);
  ASSERT_TRUE(saved.save_parent());
  ASSERT_TRUE(dirty.arm());
  const Gpa page = testing::toy_layout(ToyConfig{.data_pages = 24}).data.back().begin;
  ASSERT_TRUE(saved.machine().memory().write_object(page, std::uint64_t{0}));
  const auto report = saved.save_twice(dirty);
  ASSERT_TRUE(report) << report.error().to_string();
  EXPECT_TRUE(report->complete());
  EXPECT_EQ(report->unchanged, (GpaRanges{{page, 4096}}));
  EXPECT_THAT(report->changed, IsEmpty());
}

TEST(Completeness, OfAFullSnapshotIsNotAsked) {
  TwiceSaved saved(ToyConfig{.data_pages = 24});
  ASSERT_TRUE(saved.save_parent());
  const auto full = *SnapshotChain::open(saved.files(), "/parent");
  const auto report = verify_diff(saved.files(), *full, *full, 1, {});
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::kInvalidArgument);
}

}  // namespace
}  // namespace stasis::snapshot
