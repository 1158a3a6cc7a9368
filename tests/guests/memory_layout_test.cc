#include "guests/memory_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guests/abi.h"

namespace stasis::guests {
namespace {

using ::testing::HasSubstr;

TEST(MemoryLayout, SmallMemoryIsOneRegionFromZero) {
  for (const std::uint64_t mib : {8U, 256U, 3072U}) {
    const auto regions = guest_memory_regions(mib * abi::kMiB);
    ASSERT_TRUE(regions) << regions.error().to_string();
    ASSERT_EQ(regions->size(), 1) << mib;
    EXPECT_EQ((*regions)[0].range, (GpaRange{Gpa{0}, mib * abi::kMiB}));
  }
}

TEST(MemoryLayout, WhatExceedsThreeGibBeginsAtFourGib) {
  const auto regions = guest_memory_regions(3 * abi::kGiB + 2 * abi::kMiB);
  ASSERT_TRUE(regions);
  ASSERT_EQ(regions->size(), 2);
  EXPECT_EQ((*regions)[0].range, (GpaRange{Gpa{0}, 3 * abi::kGiB}));
  EXPECT_EQ((*regions)[1].range, (GpaRange{Gpa{4 * abi::kGiB}, 2 * abi::kMiB}));
  EXPECT_TRUE(guest_memory_regions(abi::kMemoryBytesMax));
}

TEST(MemoryLayout, BackingIsAsAskedFor) {
  const auto regions = guest_memory_regions(
      4 * abi::kGiB, {.backing = BackingKind::kMemfd, .huge_pages = HugePages::kNever});
  ASSERT_TRUE(regions);
  for (const RegionSpec& region : *regions) {
    EXPECT_EQ(region.backing, BackingKind::kMemfd);
    EXPECT_EQ(region.huge_pages, HugePages::kNever);
  }
}

TEST(MemoryLayout, AbsurdSizesAreRefusedWithTheLimits) {
  for (const std::uint64_t bytes : {std::uint64_t{0}, std::uint64_t{1}, 6 * abi::kMiB,
                                    abi::kMemoryBytesMax + 2 * abi::kMiB, UINT64_MAX}) {
    const auto regions = guest_memory_regions(bytes);
    ASSERT_FALSE(regions) << bytes;
    EXPECT_EQ(regions.error().code, Errc::kInvalidArgument);
    EXPECT_THAT(regions.error().message, HasSubstr("8 MiB to 65536 MiB"));
  }
}

TEST(MemoryLayout, SizesThatAreNoMultipleAreRefusedWithTheNextOne) {
  EXPECT_THAT(guest_memory_regions(9 * abi::kMiB).error().message, HasSubstr("10 MiB"));
}

TEST(MemoryLayout, FileBackingIsRefused) {
  EXPECT_EQ(
      guest_memory_regions(8 * abi::kMiB, {.backing = BackingKind::kPrivateFile}).error().code,
      Errc::kInvalidArgument);
}

}  // namespace
}  // namespace stasis::guests
