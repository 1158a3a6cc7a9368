#include "core/ranges.h"

#include <bitset>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace stasis {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::size_t kUniverse = 512;
using Bits = std::bitset<kUniverse>;

// The oracle: one bit a byte.
Bits bits_of(const GpaRanges& ranges) {
  Bits bits;
  for (const GpaRange& range : ranges) {
    for (std::uint64_t i = 0; i < range.size; ++i) {
      bits.set(range.begin.value + i);
    }
  }
  return bits;
}

GpaRanges ranges_of(const Bits& bits) {
  GpaRanges ranges;
  for (std::size_t i = 0; i < kUniverse; ++i) {
    if (bits[i] && i > 0 && bits[i - 1]) {
      ++ranges.back().size;
    } else if (bits[i]) {
      ranges.push_back({Gpa{i}, 1});
    }
  }
  return ranges;
}

// Any order, overlapping, some empty.
GpaRanges random_ranges(std::mt19937_64& random) {
  GpaRanges ranges(random() % 12);
  for (GpaRange& range : ranges) {
    range.begin = Gpa{random() % (kUniverse - 64)};
    range.size = random() % 64;
  }
  return ranges;
}

TEST(Ranges, NormalizeSortsMergesAndDropsEmptyOnes) {
  EXPECT_THAT(normalize({{Gpa{30}, 5}, {Gpa{10}, 5}, {Gpa{15}, 5}, {Gpa{50}, 0}, {Gpa{12}, 2}}),
              ElementsAre(GpaRange{Gpa{10}, 10}, GpaRange{Gpa{30}, 5}));
  EXPECT_THAT(normalize({}), IsEmpty());
}

TEST(Ranges, AgreeWithABitmapOnRandomSets) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 1000; ++round) {
    const GpaRanges raw = random_ranges(random);
    const GpaRanges a = normalize(raw);
    const GpaRanges b = normalize(random_ranges(random));
    ASSERT_EQ(a, ranges_of(bits_of(raw)));
    ASSERT_EQ(unite(a, b), ranges_of(bits_of(a) | bits_of(b)));
    ASSERT_EQ(intersect(a, b), ranges_of(bits_of(a) & bits_of(b)));
    ASSERT_EQ(subtract(a, b), ranges_of(bits_of(a) & ~bits_of(b)));
    ASSERT_EQ(total_bytes(a), bits_of(a).count());
    const Bits bits = bits_of(a);
    for (std::uint64_t i = 0; i < kUniverse; i += 7) {
      ASSERT_EQ(contains(a, Gpa{i}), bits[i]);
    }
  }
}

TEST(Ranges, AlignOutwardCoversExactlyTheTouchedUnits) {
  std::mt19937_64 random(4);
  for (int round = 0; round < 300; ++round) {
    const GpaRanges a = normalize(random_ranges(random));
    const std::uint64_t unit = std::uint64_t{1} << (random() % 6);
    const Bits bits = bits_of(a);
    Bits expected;
    for (std::size_t i = 0; i < kUniverse; ++i) {
      for (std::size_t j = align_down(i, unit); j < align_down(i, unit) + unit; ++j) {
        expected[i] = expected[i] || bits[j];
      }
    }
    ASSERT_EQ(align_outward(a, unit), ranges_of(expected)) << "unit " << unit;
  }
}

TEST(Ranges, WorkAtTheTopOfTheAddressSpace) {
  const GpaRanges top = {{Gpa{UINT64_MAX - 8}, 8}};
  EXPECT_TRUE(contains(top, Gpa{UINT64_MAX - 1}));
  EXPECT_FALSE(contains(top, Gpa{UINT64_MAX}));
  EXPECT_EQ(intersect(top, {{Gpa{0}, UINT64_MAX}}), top);
  EXPECT_FALSE(make_range(Gpa{UINT64_MAX}, 2).has_value());
}

}  // namespace
}  // namespace stasis
