// What the backend keeps beside the framework: permissions and executed pages, the guest's clock,
// answers to trapped registers. Pure, on every host.
#include <array>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hvf/guest_clock.h"
#include "hvf/guest_ram.h"
#include "hvf/register_traps.h"
#include "tests/support/must.h"

namespace stasis::hvf {
namespace {

constexpr std::uint64_t kPage = 0x4000;
constexpr Permission kReadWrite{true, true, false};
constexpr Permission kReadOnly{true, false, false};

class GuestRamTest : public testing::Test {
 protected:
  static std::unique_ptr<GuestMemory> make_memory() {
    const std::array<RegionSpec, 2> specs = {
        {{.range = {Gpa{0}, 8 * kPage}}, {.range = {Gpa{16 * kPage}, 4 * kPage}}}};
    return must(GuestMemory::create(specs, kPage));
  }
  using Pieces = std::vector<std::pair<GpaRange, Permission>>;
  Pieces pieces(GpaRange range) const {
    Pieces found;
    must(ram_.for_each_piece(range, [&](GpaRange piece, Permission permission) {
      found.emplace_back(piece, permission);
      return Result<void>();
    }));
    return found;
  }

  std::unique_ptr<GuestMemory> memory_ = make_memory();
  GuestRam ram_{*memory_, Access::kReadWriteExecute};
};

TEST_F(GuestRamTest, NothingIsExecutableBeforeItIsExecuted) {
  EXPECT_EQ(pieces({Gpa{0}, 8 * kPage}), (Pieces{{{Gpa{0}, 8 * kPage}, kReadWrite}}));
  ram_.set_code(Gpa{2 * kPage});
  EXPECT_EQ(pieces({Gpa{0}, 8 * kPage}), (Pieces{{{Gpa{0}, 2 * kPage}, kReadWrite},
                                                 {{Gpa{2 * kPage}, kPage}, {true, true, true}},
                                                 {{Gpa{3 * kPage}, 5 * kPage}, kReadWrite}}));
  EXPECT_EQ(ram_.code(), (GpaRanges{{Gpa{2 * kPage}, kPage}}));
  ram_.forget_code();
  EXPECT_TRUE(ram_.code().empty());
  EXPECT_EQ(pieces({Gpa{2 * kPage}, kPage}), (Pieces{{{Gpa{2 * kPage}, kPage}, kReadWrite}}));
}

TEST_F(GuestRamTest, AccessChangesPageByPageAndCodeStaysCode) {
  ram_.set_code(Gpa{kPage});
  ram_.set_access({Gpa{0}, 2 * kPage}, Access::kReadExecute);
  EXPECT_EQ(pieces({Gpa{0}, 3 * kPage}), (Pieces{{{Gpa{0}, kPage}, kReadOnly},
                                                 {{Gpa{kPage}, kPage}, {true, false, true}},
                                                 {{Gpa{2 * kPage}, kPage}, kReadWrite}}));
  ram_.set_access({Gpa{kPage}, kPage}, Access::kNone);
  EXPECT_EQ(pieces({Gpa{kPage}, kPage}), (Pieces{{{Gpa{kPage}, kPage}, {}}}));
  EXPECT_EQ(ram_.find(Gpa{kPage + 5})->access, Access::kNone);
}

TEST_F(GuestRamTest, WhatIsNotOneRegionsPagesIsRefused) {
  using Ranges = std::vector<GpaRange>;
  must(ram_.check(Ranges{{Gpa{0}, 8 * kPage}, {Gpa{16 * kPage}, kPage}}));
  EXPECT_EQ(ram_.check(Ranges{{Gpa{1}, kPage}}).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(ram_.check(Ranges{{Gpa{0}, kPage + 1}}).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(ram_.check(Ranges{{Gpa{7 * kPage}, 2 * kPage}}).error().code, Errc::kOutOfRange);
  EXPECT_EQ(ram_.check(Ranges{{Gpa{8 * kPage}, kPage}}).error().code, Errc::kOutOfRange);
  EXPECT_EQ(ram_.check(Ranges{{Gpa{UINT64_MAX - kPage + 1}, kPage}}).error().code,
            Errc::kOutOfRange);
}

TEST_F(GuestRamTest, APageIsFoundWithItsHostMemory) {
  const auto page = ram_.find(Gpa{17 * kPage + 3});
  ASSERT_TRUE(page.has_value());
  EXPECT_EQ(page->range, (GpaRange{Gpa{17 * kPage}, kPage}));
  EXPECT_EQ(page->host, memory_->regions()[1].host + kPage);
  EXPECT_FALSE(ram_.find(Gpa{8 * kPage}).has_value());
  EXPECT_FALSE(ram_.find(Gpa{UINT64_MAX}).has_value());
}

TEST(GuestClockTest, OnePauseIsOneMomentForAllVcpus) {
  std::uint64_t now = 1000;
  GuestClock clock([&] { return now; });
  clock.enter();
  clock.enter();
  clock.leave();
  clock.leave();
  EXPECT_EQ(clock.stopped_at(), 1000U);
  now = 2000;
  EXPECT_EQ(clock.stopped_at(), 1000U) << "the second vCPU of the same pause";
  clock.enter();
  clock.leave();
  EXPECT_EQ(clock.stopped_at(), 2000U);
}

TEST(GuestClockTest, TheGuestsCountGoesOnInAnotherVmAndIsTheSameForAllVcpus) {
  std::uint64_t now = 5'000'000;
  GuestClock before([&] { return now; });
  constexpr std::uint64_t kOffset = 4'000'000;
  before.enter();
  before.leave();
  const std::uint64_t saved = saved_offset(kOffset, before.stopped_at());
  now = 17;  // Another host, or QEMU begun anew.
  GuestClock after([&] { return now; });
  const std::uint64_t first = loaded_offset(saved, after.continues_at(0));
  now = 40;  // The second vCPU is loaded later.
  const std::uint64_t second = loaded_offset(saved, after.continues_at(0));
  EXPECT_EQ(first, second);
  EXPECT_EQ(17 - first, 1'000'000U) << "the guest's count when it was saved";
  EXPECT_EQ(saved_offset(first, after.stopped_at()), saved) << "untouched, it is the same state";
  now = 90;
  EXPECT_EQ(90 - loaded_offset(saved, after.continues_at(1)), 1'000'000U) << "put back in place";
}

TEST(RegisterTrapsTest, TheOsLockIsOpenAndThereAreNoPerformanceMonitors) {
  EXPECT_EQ(answer_register_trap(0x808c, 7), 8U) << "OSLSR_EL1";
  EXPECT_EQ(answer_register_trap(0x8084, 7), 0U) << "OSLAR_EL1";
  EXPECT_EQ(answer_register_trap(0xdf01, 7), 7U) << "CNTPCT_EL0";
  EXPECT_EQ(answer_register_trap(0xdce0, 7), 0U) << "PMCR_EL0";
  EXPECT_EQ(answer_register_trap(0xc4f1, 7), 0U) << "PMINTENSET_EL1";
  EXPECT_EQ(answer_register_trap(0xdf40, 7), 0U) << "PMEVCNTR0_EL0";
  EXPECT_EQ(answer_register_trap(0xdf19, 7), std::nullopt) << "CNTV_CTL_EL0";
  EXPECT_EQ(answer_register_trap(0xc660, 7), std::nullopt) << "ICC_IAR1_EL1";
}

}  // namespace
}  // namespace stasis::hvf
