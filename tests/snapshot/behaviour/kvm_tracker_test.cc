// Trackers on KVM, with the guest that checks itself.
#include <chrono>
#include <ostream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/trackers/tracker_catalog.h"
#include "tests/snapshot/behaviour/kvm_machine.h"

namespace stasis::snapshot {
namespace {

using testing::GuestMachine;
using testing::GuestOptions;
using ::testing::IsEmpty;
using testing::KvmTest;
using testing::run_to_event;

struct TrackerCase {
  std::string tracker;
  std::uint32_t unprotect_pages = 1;
  BackingKind backing = BackingKind::kAnonymous;
  HugePages huge_pages = HugePages::kNever;
  std::uint32_t vcpus = 1;
};

void PrintTo(const TrackerCase& c, std::ostream* out) {  // NOLINT(readability-identifier-naming)
  *out << c.tracker << ", " << c.unprotect_pages << " pages a fault, " << name_of(c.backing) << ", "
       << name_of(c.huge_pages) << " huge pages, " << c.vcpus << " vCPUs";
}

std::vector<TrackerCase> tracker_cases() {
  std::vector<TrackerCase> cases;
  for (const std::uint32_t vcpus : {1U, 2U, 4U}) {
    for (const HugePages huge : {HugePages::kNever, HugePages::kTransparent}) {
      cases.push_back({"dirty-log", 1, BackingKind::kAnonymous, huge, vcpus});
      for (const std::uint32_t chunk : {1U, 16U, 512U}) {
        cases.push_back({"protection", chunk, BackingKind::kAnonymous, huge, vcpus});
      }
    }
    cases.push_back({"protection", 1, BackingKind::kMemfd, HugePages::kNever, vcpus});
    cases.push_back({"pagemap-scan", 1, BackingKind::kAnonymous, HugePages::kTransparent, vcpus});
    cases.push_back({"compare-hash", 1, BackingKind::kAnonymous, HugePages::kTransparent, vcpus});
  }
  cases.push_back({"pagemap-scan", 1, BackingKind::kAnonymous, HugePages::kNever, 2});
  cases.push_back({"pagemap-scan", 1, BackingKind::kMemfd, HugePages::kNever, 2});
  return cases;
}

class KvmTrackerTest : public KvmTest, public ::testing::WithParamInterface<TrackerCase> {
 protected:
  void SetUp() override {
    KvmTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    GuestOptions options;
    options.arguments = "checkpoints=40 memory=4";
    options.vcpus = GetParam().vcpus;
    options.backing = GetParam().backing;
    options.huge_pages = GetParam().huge_pages;
    guest_ = launch(options);
    ASSERT_NE(guest_.machine, nullptr);
    TrackerOptions tracker_options;
    tracker_options.unprotect_pages = GetParam().unprotect_pages;
    auto tracker = make_tracker(GetParam().tracker, *guest_.machine, tracker_options);
    if (!tracker && tracker.error().code == Errc::kNotSupported) {
      GTEST_SKIP() << tracker.error().to_string();
    }
    ASSERT_TRUE(tracker) << tracker.error().to_string();
    tracker_ = *std::move(tracker);
    compare_ = *make_tracker("compare", *guest_.machine);
  }
  void TearDown() override {
    tracker_.reset();
    compare_.reset();
  }

  void check_collection() {
    const auto seen = guest_.machine->collect_dirty(*tracker_);
    ASSERT_TRUE(seen) << seen.error().to_string();
    const GpaRanges changed = *compare_->collect();
    EXPECT_THAT(subtract(changed, *seen), IsEmpty()) << "changed pages were missed";
    EXPECT_LT(total_bytes(*seen), guest_.machine->memory().size_bytes() / 2);
  }

  GuestMachine guest_;
  std::unique_ptr<DirtyTracker> tracker_, compare_;
};

TEST_P(KvmTrackerTest, MissesNoPageFromBootToManyCheckpoints) {
  // Armed before the guest has touched anything: pages that do not exist yet count as well.
  ASSERT_TRUE(compare_->arm());
  const auto armed = guest_.machine->arm_dirty(*tracker_);
  ASSERT_TRUE(armed) << armed.error().to_string();
  for (int i = 0; i < 8; ++i) {
    const auto event = run_to_event(*guest_.machine);
    ASSERT_TRUE(event) << event.error().to_string();
    check_collection();
  }
  EXPECT_THAT(*guest_.machine->collect_dirty(*tracker_), IsEmpty())
      << "nothing has run since the last collection";
}

// Where the guest never looks: the end of its RAM.
TEST_P(KvmTrackerTest, SeesWhatTheHostWritesBetweenWhatTheGuestWrites) {
  ASSERT_TRUE(run_to_event(*guest_.machine));
  ASSERT_TRUE(compare_->arm());
  ASSERT_TRUE(guest_.machine->arm_dirty(*tracker_));
  GuestMemory& memory = guest_.machine->memory();
  const Gpa end = memory.regions().back().range.end();
  for (std::uint64_t i = 1; i <= 6; ++i) {
    // Across a border of pages, and of the chunks that a fault makes writable.
    const Gpa border{end.value - i * (std::uint64_t{1} << 20U)};
    const GpaRange pages{Gpa{border.value - 4096}, 8192};
    ASSERT_TRUE(memory.write_object(Gpa{border.value - 4}, 0x1111111111111111 * i));
    if (i % 2 == 0) {
      ASSERT_TRUE(run_to_event(*guest_.machine));
    }
    const auto seen = guest_.machine->collect_dirty(*tracker_);
    ASSERT_TRUE(seen) << seen.error().to_string();
    const GpaRanges changed = *compare_->collect();
    EXPECT_THAT(subtract({pages}, changed), IsEmpty()) << "the oracle does not see it";
    EXPECT_THAT(subtract(changed, *seen), IsEmpty());
  }
}

TEST_P(KvmTrackerTest, MissesNothingWhenPausedInTheMiddleOfWork) {
  ASSERT_TRUE(run_to_event(*guest_.machine));
  ASSERT_TRUE(compare_->arm());
  ASSERT_TRUE(guest_.machine->arm_dirty(*tracker_));
  std::uint64_t changed_bytes = 0;
  for (int i = 0; i < 25; ++i) {
    ASSERT_TRUE(guest_.machine->resume());
    // Whether the guest comes to its checkpoint before this ends is left to chance.
    const auto event = guest_.machine->wait_event(std::chrono::milliseconds(i));
    ASSERT_TRUE(event || event.error().code == Errc::kTimeout) << event.error().to_string();
    ASSERT_TRUE(guest_.machine->pause(std::chrono::seconds(30)));
    const auto seen = guest_.machine->collect_dirty(*tracker_);
    ASSERT_TRUE(seen) << seen.error().to_string();
    const GpaRanges changed = *compare_->collect();
    changed_bytes += total_bytes(changed);
    EXPECT_THAT(subtract(changed, *seen), IsEmpty());
  }
  EXPECT_GT(changed_bytes, 0U) << "the test would prove nothing";
  ASSERT_TRUE(guest_.machine->disarm_dirty(*tracker_));
  EXPECT_TRUE(run_to_event(*guest_.machine)) << "runs on untracked";
}

INSTANTIATE_TEST_SUITE_P(OnKvm, KvmTrackerTest, ::testing::ValuesIn(tracker_cases()));

}  // namespace
}  // namespace stasis::snapshot
