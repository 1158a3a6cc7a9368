// The mechanisms behind the trackers find what bare KVM's guest writes.
#include "experiments/floor/raw_trackers.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "experiments/floor/fresh_memory.h"

namespace stasis::experiments {
namespace {

constexpr std::size_t kBytes = std::size_t{16} << 20U;
constexpr std::size_t kPage = 4096;
// The guest stores how long it took.
constexpr std::uint64_t kOwnPages = 1;

class RawTrackers : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto memory = FreshMemory::map(Backing::kSmallPages, kBytes);
    ASSERT_TRUE(memory);
    memory_ = std::make_unique<FreshMemory>(std::move(*memory));
    memory_->touch();
    auto writer = BareWriter::create(memory_->bytes(), kernel_log_of(GetParam()));
    if (!writer) {
      GTEST_SKIP() << writer.error().to_string();
    }
    writer_ = std::move(*writer);
    auto tracker = make_raw_tracker(GetParam(), memory_->bytes(), *writer_);
    if (!tracker) {
      GTEST_SKIP() << tracker.error().to_string();
    }
    tracker_ = std::move(*tracker);
  }
  std::unique_ptr<FreshMemory> memory_;
  std::unique_ptr<BareWriter> writer_;
  std::unique_ptr<RawTracker> tracker_;
};

TEST_P(RawTrackers, FindWhatTheGuestWritesAndWatchAgain) {
  const std::vector<std::uint64_t> first = {513, 600, 4095, 1000};
  const std::vector<std::uint64_t> second = {700, 600};
  ASSERT_TRUE(writer_->write(first));  // Mapped in the VM, and not dirty when it is armed.
  ASSERT_TRUE(writer_->write(second));
  auto armed = tracker_->arm();
  ASSERT_TRUE(armed) << armed.error().to_string();
  for (const auto& pages : {first, second, first}) {
    auto cycles = writer_->write(pages);
    ASSERT_TRUE(cycles) << cycles.error().to_string();
    EXPECT_GT(*cycles, 0U);
    auto found = tracker_->collect();
    ASSERT_TRUE(found) << found.error().to_string();
    const std::string_view name = GetParam();
    if (name == "zero-scan" || name == "residency") {
      EXPECT_EQ(*found, kBytes / kPage);  // All were touched at some time.
    } else if (name == "soft-dirty") {
      EXPECT_GE(*found, pages.size());
    } else {
      // The list that the guest reads is written by the host, which KVM's log does not see.
      EXPECT_GE(*found, pages.size()) << name;
      EXPECT_LE(*found, pages.size() + kOwnPages + 2) << name;
    }
  }
  auto nothing = tracker_->collect();
  ASSERT_TRUE(nothing);
  if (std::string_view(GetParam()) != "zero-scan" && std::string_view(GetParam()) != "residency") {
    EXPECT_LE(*nothing, 2U);
  }
}

INSTANTIATE_TEST_SUITE_P(Mechanisms, RawTrackers,
                         testing::Values("compare", "compare-hash", "zero-scan", "residency",
                                         "userfaultfd", "pagemap-scan", "soft-dirty", "fork",
                                         "dirty-log", "dirty-log-manual", "dirty-ring"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(RawTrackersWriter, AddsOneToTheFirstWordOfEachPage) {
  auto memory = FreshMemory::map(Backing::kSmallPages, kBytes);
  ASSERT_TRUE(memory);
  auto writer = BareWriter::create(memory->bytes(), KernelLog::kNone);
  if (!writer) {
    GTEST_SKIP() << writer.error().to_string();
  }
  ASSERT_TRUE((*writer)->write(std::vector<std::uint64_t>{512, 4095, 512}));
  const auto word = [&](std::size_t page) {
    std::uint64_t value = 0;
    std::memcpy(&value, &memory->bytes()[page * kPage], sizeof(value));
    return value;
  };
  EXPECT_EQ(word(512), 2U);
  EXPECT_EQ(word(4095), 1U);
  EXPECT_EQ(word(513), 0U);
  EXPECT_FALSE((*writer)->write(std::vector<std::uint64_t>{511}));   // The guest's own.
  EXPECT_FALSE((*writer)->write(std::vector<std::uint64_t>{4096}));  // Behind the end.
  EXPECT_FALSE((*writer)->start_log());
}

TEST(RawTrackersWriter, MemoryOfAnImpossibleSizeIsRefused) {
  std::vector<std::byte> memory(kPage);
  EXPECT_EQ(BareWriter::create(memory, KernelLog::kNone).error().code, Errc::kInvalidArgument);
}

TEST(MechanismNames, EveryTrackerButThoseOfTheHypervisorHasOne) {
  EXPECT_EQ(mechanism_of("protection"), "userfaultfd");
  EXPECT_EQ(mechanism_of("fork"), "fork");
  EXPECT_EQ(mechanism_of("none"), "");
  EXPECT_EQ(kernel_log_of("dirty-ring"), KernelLog::kRing);
  EXPECT_EQ(kernel_log_of("compare"), KernelLog::kNone);
}

}  // namespace
}  // namespace stasis::experiments
