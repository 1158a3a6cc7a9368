// The central property of resets, on the mock: a machine that was reset is the machine that a fresh
// restore makes, now and for as long as it runs on; for every tracker, layout, codec and chain.
#include <ostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/snapshot/reset/resettable_toy.h"

namespace stasis::snapshot {
namespace {

using testing::apply;
using testing::Format;
using testing::make_resettable;
using testing::Observation;
using testing::ResettableToy;
using testing::restore_toy;
using testing::Restored;
using testing::TemporaryDirectory;
using testing::ToyConfig;
using testing::ToyRun;

struct Case {
  std::string tracker;
  std::uint64_t page_size_bytes = 4096;
  std::uint32_t vcpus = 2;
  Format format = {};
  std::string policy = "eager";
  std::uint32_t differences = 0;
  std::uint32_t unprotect_pages = 1;
};

void PrintTo(const Case& c, std::ostream* out) {  // NOLINT(readability-identifier-naming)
  *out << c.tracker << ", " << c.page_size_bytes << "-byte pages, " << c.vcpus << " vCPUs, "
       << name_of(c.format.layout) << ", " << name_of(c.format.codec) << ", chunks of "
       << c.format.chunk_bytes << ", " << c.policy << ", " << c.differences << " differences, "
       << c.unprotect_pages << " pages a fault";
}

constexpr Format kMapped{};
constexpr Format kPacked{Layout::kPacked, Codec::kNone, 16U << 10U};
constexpr Format kCompressed{Layout::kPacked, Codec::kLz4, 64U << 10U};

// Every tracker that the mock has, however it stores; and every way to store.
std::vector<Case> all_cases() {
  std::vector<Case> cases;
  const auto backend = testing::make_toy_backend({});
  for (const Availability& tracker : list_trackers(backend->capabilities())) {
    if (tracker.name == name_of(DirtyLogKind::kManualClear) ||
        tracker.name == name_of(DirtyLogKind::kRing)) {
      continue;  // The mock has no such logs.
    }
    cases.push_back({tracker.name, 4096, 1});
    cases.push_back({tracker.name, 16384, 3, kCompressed, "eager", 2});
  }
  for (const std::string tracker : {"dirty-log", "compare", "pagemap-scan"}) {
    for (const Format& format : {kMapped, kPacked, kCompressed}) {
      for (const std::uint32_t differences : {0U, 3U}) {
        for (const std::string policy : {"eager", "lazy", "uffd"}) {
          cases.push_back({tracker, 4096, 2, format, policy, differences});
        }
      }
    }
  }
  cases.push_back({"protection", 4096, 2, kMapped, "eager", 1, 16});
  cases.push_back({"userfaultfd", 16384, 4, kPacked, "eager", 1, 8});
  return cases;
}

class ResetTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const Case& c = GetParam();
    config_.page_size_bytes = c.page_size_bytes;
    config_.vcpus = c.vcpus;
    config_.data_pages = 48;
    config_.operations = 80;
    config_.seed = c.vcpus + c.differences * 7;
    auto path = testing::save_toy(config_, c.format, c.differences, directory_);
    ASSERT_TRUE(path) << path.error().to_string();
    path_ = *path;
    backend_ = testing::make_toy_backend(config_);
    auto subject = make_resettable(path_, *backend_, c.policy, c.tracker,
                                   TrackerOptions{.unprotect_pages = c.unprotect_pages});
    if (!subject && subject.error().code == Errc::kNotSupported) {
      GTEST_SKIP() << subject.error().to_string();
    }
    ASSERT_TRUE(subject) << subject.error().to_string();
    subject_ = *std::move(subject);
  }
  // The trackers go before the machine.
  void TearDown() override {
    subject_.resetter.reset();
    if (subject_.dirty != nullptr) {
      EXPECT_TRUE(subject_.dirty->disarm());
    }
    subject_.dirty.reset();
    subject_.tracker.reset();
  }

  Restored fresh() {
    auto restored = restore_toy(path_, *backend_, "eager");
    EXPECT_TRUE(restored) << restored.error().to_string();
    return *std::move(restored);
  }

  // Of a reset after `written` was written: every page of it went back, and no clean one.
  void check_counts(const ResetReport& report, const GpaRanges& written) {
    EXPECT_EQ(report.copied_bytes + report.zeroed_bytes, report.dirty_bytes);
    const TrackerTraits& traits = subject_.tracker->traits();
    const std::uint64_t bytes = total_bytes(written);
    if (traits.name.starts_with("compare") || traits.name == "fork") {
      EXPECT_LE(report.dirty_bytes, bytes);  // Some were written with what they held.
    } else if (traits.exact) {
      EXPECT_EQ(report.dirty_bytes, bytes);
    } else {
      EXPECT_GE(report.dirty_bytes, bytes);
      if (traits.name == "protection" || traits.name == "userfaultfd") {
        EXPECT_LE(report.dirty_bytes,
                  total_bytes(align_outward(written, traits.granularity_bytes)));
      }
    }
  }

  TemporaryDirectory directory_;
  ToyConfig config_;
  std::string path_;
  std::unique_ptr<HypervisorBackend> backend_;
  ResettableToy subject_;
};

TEST_P(ResetTest, AMachineThatWasResetIsAFreshOneAndRunsOnAsOne) {
  const Observation clean = subject_.observe();
  {
    const Restored untouched = fresh();
    EXPECT_EQ(clean, testing::observe(*untouched.machine, *untouched.output));
  }
  std::mt19937_64 random(3);
  std::uint64_t put_back = 0;
  for (int round = 0; round < 5; ++round) {
    SCOPED_TRACE(round);
    const ToyRun run = testing::random_run(random);
    const Restored reference = fresh();
    const auto log = *make_tracker("dirty-log", *reference.machine);
    ASSERT_TRUE(reference.machine->arm_dirty(*log));
    ASSERT_TRUE(apply(run, config_, *reference.machine));
    ASSERT_TRUE(apply(run, config_, subject_.machine()));
    EXPECT_EQ(subject_.observe(), testing::observe(*reference.machine, *reference.output));
    const GpaRanges written = *reference.machine->collect_dirty(*log);
    const auto report = subject_.resetter->reset();
    ASSERT_TRUE(report) << report.error().to_string();
    EXPECT_EQ(subject_.observe(), clean);
    check_counts(*report, written);
    put_back += report->dirty_bytes;
  }
  EXPECT_GT(put_back, 0U) << "the test would prove nothing";
}

TEST_P(ResetTest, ItMayHaveRunFreely) {
  const Observation clean = subject_.observe();
  for (int round = 0; round < 3; ++round) {
    const std::size_t before = subject_.restored.output->output().size();
    ASSERT_TRUE(subject_.machine().resume());
    while (subject_.restored.output->output().size() < before + 20) {
      std::this_thread::yield();
    }
    ASSERT_TRUE(subject_.machine().pause(std::chrono::seconds(20)));
    const auto report = subject_.resetter->reset();
    ASSERT_TRUE(report) << report.error().to_string();
    EXPECT_EQ(subject_.observe(), clean);
  }
}

TEST_P(ResetTest, NothingIsDirtyAfterwardsAndNothingIsReadTwice) {
  const std::string& name = GetParam().tracker;
  const ToyRun run{.instructions = 900, .seed = 5, .host_writes = 3};
  ASSERT_TRUE(apply(run, config_, subject_.machine()));
  const auto first = subject_.resetter->reset();
  ASSERT_TRUE(first) << first.error().to_string();
  EXPECT_GT(first->read_bytes, 0U);
  const auto idle = subject_.resetter->reset();
  ASSERT_TRUE(idle) << idle.error().to_string();
  if (name != "zero-scan" && name != "residency" && name != "soft-dirty") {  // They guess.
    EXPECT_EQ(idle->dirty_bytes, 0U);
    EXPECT_EQ(idle->copied_bytes + idle->zeroed_bytes, 0U);
  }
  ASSERT_TRUE(apply(run, config_, subject_.machine()));
  const auto second = subject_.resetter->reset();
  ASSERT_TRUE(second) << second.error().to_string();
  EXPECT_EQ(second->dirty_bytes, first->dirty_bytes);
  EXPECT_EQ(second->read_bytes, 0U);
}

INSTANTIATE_TEST_SUITE_P(OnTheMock, ResetTest, ::testing::ValuesIn(all_cases()));

}  // namespace
}  // namespace stasis::snapshot
