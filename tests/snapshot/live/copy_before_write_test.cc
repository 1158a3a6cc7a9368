// Copy before write without a guest: what is kept, what is let go, and what happens without room.
#include "snapshot/live/copy_before_write.h"

#include <cstring>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace stasis::snapshot::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Answer = CopyBeforeWrite::Answer;
using Asked = CopyBeforeWrite::Asked;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kBlock = std::uint64_t{2} << 20U;

class CopyBeforeWriteTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::vector<RegionSpec> specs{
        {{Gpa{kBlock / 2}, 2 * kBlock}, BackingKind::kAnonymous, HugePages::kNever, {}},
        {{Gpa{16 * kBlock}, kBlock}, BackingKind::kAnonymous, HugePages::kNever, {}}};
    memory_ = *GuestMemory::create(specs, kPage);
    for (const GpaRange& range : memory_->ranges()) {
      for (std::uint64_t at = 0; at < range.size; at += kPage) {
        ASSERT_TRUE(memory_->write_object(range.begin + at, range.begin.value + at));
      }
    }
  }
  void make(std::uint64_t buffer_bytes, WhenFull when_full = WhenFull::kSlow) {
    LiveOptions options;
    options.buffer_bytes = buffer_bytes;
    options.when_full = when_full;
    pages_ = *CopyBeforeWrite::create(*memory_, options);
    pages_->begin(memory_->ranges());
  }
  // As a mechanism does it.
  Answer write(GpaRange range) {
    const Answer answer = pages_->before_write(range, Asked::kFirst);
    if (answer == Answer::kMayWrite) {
      const std::vector<std::byte> bytes(range.size, std::byte{0xee});
      EXPECT_TRUE(memory_->write(range.begin, bytes));
    }
    return answer;
  }
  Result<void> take(GpaRange range) {
    std::vector<std::byte> out(range.size);
    STASIS_TRY(pages_->take(range, out, [this](GpaRange piece) {
      released_.push_back(piece);
      return Result<void>();
    }));
    for (std::uint64_t at = 0; at < range.size; at += kPage) {
      std::uint64_t word = 0;
      std::memcpy(&word, out.data() + at, sizeof(word));
      EXPECT_EQ(word, range.begin.value + at) << "the page as it was";
    }
    return {};
  }

  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<CopyBeforeWrite> pages_;
  std::vector<GpaRange> released_;
};

TEST_F(CopyBeforeWriteTest, GivesWhatWasThereWhoeverWroteMeanwhile) {
  make(4 * kBlock);
  const GpaRange low{Gpa{kBlock / 2}, 2 * kBlock};
  EXPECT_EQ(write({low.begin, kPage}), Answer::kMayWrite);
  EXPECT_EQ(write({low.begin, 3 * kPage}), Answer::kMayWrite) << "the first one is copied already";
  EXPECT_EQ(write({Gpa{kBlock - kPage}, 2 * kPage}), Answer::kMayWrite) << "across blocks";
  EXPECT_TRUE(take(low));
  // Whole blocks, so that a huge page can be given back as one.
  EXPECT_THAT(released_,
              ElementsAre(GpaRange{Gpa{kBlock / 2}, kBlock / 2}, GpaRange{Gpa{kBlock}, kBlock},
                          GpaRange{Gpa{2 * kBlock}, kBlock / 2}));
  const LiveCounters counters = pages_->counters();
  EXPECT_EQ(counters.write_faults, 3U);
  EXPECT_EQ(counters.copied_bytes, 5 * kPage);
  EXPECT_EQ(counters.waits, 0U);
  EXPECT_EQ(write({low.begin, kPage}), Answer::kMayWrite);
  EXPECT_EQ(pages_->counters().copied_bytes, 5 * kPage) << "what was taken is free";
  EXPECT_TRUE(pages_->check());
}

TEST_F(CopyBeforeWriteTest, FreezesOnlyWhatItIsTold) {
  make(kBlock);
  pages_ = *CopyBeforeWrite::create(*memory_, {});
  pages_->begin({{Gpa{16 * kBlock}, kPage}});
  EXPECT_EQ(write({Gpa{16 * kBlock + kPage}, kPage}), Answer::kMayWrite);
  EXPECT_EQ(pages_->counters().copied_bytes, 0U);
  EXPECT_TRUE(take({Gpa{16 * kBlock}, kPage}));
  EXPECT_FALSE(take({Gpa{16 * kBlock}, kPage})) << "only once";
}

TEST_F(CopyBeforeWriteTest, MakesWritersWaitUntilThereIsRoom) {
  make(2 * kPage);
  const Gpa high{16 * kBlock};
  EXPECT_EQ(write({high, 2 * kPage}), Answer::kMayWrite);
  EXPECT_EQ(write({high + 4 * kPage, kPage}), Answer::kMustWait);
  EXPECT_EQ(pages_->before_write({high + 4 * kPage, kPage}, Asked::kAgain), Answer::kMustWait);
  EXPECT_EQ(pages_->counters().waits, 1U);
  EXPECT_EQ(write({high, 2 * kPage}), Answer::kMayWrite) << "it needs no room";
  EXPECT_TRUE(take({high, kPage}));
  EXPECT_EQ(write({high + 4 * kPage, kPage}), Answer::kMayWrite) << "there is room";
  EXPECT_EQ(write({high + 5 * kPage, kPage}), Answer::kMustWait);
  EXPECT_TRUE(take({high + 5 * kPage, kPage}));
  EXPECT_EQ(write({high + 5 * kPage, kPage}), Answer::kMayWrite) << "it was taken";
  EXPECT_EQ(pages_->counters().copied_peak_bytes, 2 * kPage);
  EXPECT_TRUE(take({high + kPage, kPage}));
  EXPECT_TRUE(take({high + 4 * kPage, kPage}));
  EXPECT_TRUE(pages_->check());
}

TEST_F(CopyBeforeWriteTest, GivesUpWithoutRoomWhenAskedTo) {
  make(kPage, WhenFull::kAbort);
  EXPECT_EQ(write({Gpa{kBlock}, kPage}), Answer::kMayWrite);
  EXPECT_TRUE(pages_->check());
  EXPECT_EQ(write({Gpa{kBlock + kPage}, kPage}), Answer::kMayWrite) << "nobody waits";
  const auto check = pages_->check();
  ASSERT_FALSE(check);
  EXPECT_EQ(check.error().code, Errc::kIo);
  EXPECT_THAT(check.error().message, HasSubstr("faster than the snapshot is written"));
  std::vector<std::byte> out(kPage);
  EXPECT_FALSE(
      pages_->take({Gpa{16 * kBlock}, kPage}, out, [](GpaRange) { return Result<void>(); }));
}

TEST_F(CopyBeforeWriteTest, LetsEverybodyWriteAfterTheEnd) {
  make(kPage);
  EXPECT_EQ(write({Gpa{kBlock}, 2 * kPage}), Answer::kMustWait);
  pages_->end();
  EXPECT_EQ(write({Gpa{kBlock}, 2 * kPage}), Answer::kMayWrite);
  EXPECT_TRUE(pages_->check());
  make(kPage);
  pages_->fail({Errc::kIo, 0, "the first"});
  pages_->fail({Errc::kIo, 0, "the second"});
  EXPECT_EQ(write({Gpa{kBlock}, 2 * kPage}), Answer::kMayWrite);
  EXPECT_EQ(pages_->check().error().message, "the first");
}

}  // namespace
}  // namespace stasis::snapshot::internal
