// From bits to ranges and to the spans that a request may name.
#include "kvm/dirty_bitmap.h"

#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace stasis::kvm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(DirtyBitmap, RunsAreJoinedAcrossWordsAndSlots) {
  GpaRanges ranges;
  append_runs(std::vector<std::uint64_t>{UINT64_C(1) << 63U, 1, 0, UINT64_MAX}, Gpa{0}, ranges);
  append_runs(std::vector<std::uint64_t>{5}, Gpa{256 * 4096}, ranges);
  EXPECT_THAT(ranges,
              ElementsAre(GpaRange{Gpa{63 * 4096}, 2 * 4096}, GpaRange{Gpa{192 * 4096}, 65 * 4096},
                          GpaRange{Gpa{258 * 4096}, 4096}));
}

TEST(DirtyBitmap, SpansHoldEveryDirtyWordWithinTheirLimits) {
  EXPECT_THAT(dirty_spans(std::vector<std::uint64_t>(8), 2, 4), IsEmpty());
  EXPECT_THAT(dirty_spans(std::vector<std::uint64_t>{0, 1, 0, 1, 0, 0, 1, 0}, 2, 4),
              ElementsAre(WordSpan{1, 3}, WordSpan{6, 1}));
  EXPECT_THAT(dirty_spans(std::vector<std::uint64_t>(9, 1), 2, 4),
              ElementsAre(WordSpan{0, 4}, WordSpan{4, 4}, WordSpan{8, 1}));
}

TEST(DirtyBitmap, RandomBitmapsAreCovered) {
  std::mt19937_64 random(5);  // NOLINT(cert-msc51-cpp): the same test every time.
  for (int round = 0; round < 500; ++round) {
    std::vector<std::uint64_t> bitmap(1 + random() % 300);
    for (std::uint64_t& word : bitmap) {
      word = random() % 5 == 0 ? random() : 0;
    }
    const std::size_t gap = 1 + random() % 8;
    const std::size_t longest = 1 + random() % 40;
    std::size_t next = 0;
    for (const WordSpan& span : dirty_spans(bitmap, gap, longest)) {
      for (; next < span.first; ++next) {
        ASSERT_EQ(bitmap[next], 0U);
      }
      ASSERT_LE(span.count, longest);
      ASSERT_NE(bitmap[span.first + span.count - 1], 0U);
      next = span.first + span.count;
      ASSERT_LE(next, bitmap.size());
    }
    for (; next < bitmap.size(); ++next) {
      ASSERT_EQ(bitmap[next], 0U);
    }
  }
}

}  // namespace
}  // namespace stasis::kvm
