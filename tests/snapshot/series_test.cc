// Which members of a series are flattened and which removed.
#include "snapshot/series.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace stasis::snapshot {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(IsFlatteningDue, NeverForAFullSnapshotOrNothing) {
  EXPECT_FALSE(is_flattening_due({}, {}));
  const std::vector<SeriesMember> full = {{1, 100, true}};
  EXPECT_FALSE(is_flattening_due(full, {.keep = 1, .depth_max = 1}));
}

TEST(IsFlatteningDue, WhenTheDifferencesAreAsLargeAsTheirBase) {
  std::vector<SeriesMember> members = {
      {1, 500, true}, {2, 100, true}, {3, 60, false}, {4, 39, false}};
  EXPECT_FALSE(is_flattening_due(members, {}));
  members.back().stored_bytes = 40;
  EXPECT_TRUE(is_flattening_due(members, {}));
}

TEST(IsFlatteningDue, WhenTheChainIsAsDeepAsItMayBe) {
  std::vector<SeriesMember> members = {{1, 100, true}, {2, 1, false}, {3, 1, false}};
  EXPECT_FALSE(is_flattening_due(members, {.keep = 1, .depth_max = 3}));
  EXPECT_TRUE(is_flattening_due(members, {.keep = 1, .depth_max = 2}));
}

TEST(Removable, NothingWhileAllAreKept) {
  const std::vector<SeriesMember> members = {{1, 1, true}, {2, 1, false}};
  EXPECT_THAT(removable(members, {.keep = 2}), IsEmpty());
  EXPECT_THAT(removable(members, {.keep = 9}), IsEmpty());
}

TEST(Removable, WhatNoKeptOneNeeds) {
  const std::vector<SeriesMember> members = {{3, 1, true},  {4, 1, false}, {5, 1, true},
                                             {6, 1, false}, {7, 1, false}, {8, 1, true}};
  EXPECT_THAT(removable(members, {.keep = 1}), ElementsAre(3, 4, 5, 6, 7));
  EXPECT_THAT(removable(members, {.keep = 2}), ElementsAre(3, 4));
  EXPECT_THAT(removable(members, {.keep = 4}), ElementsAre(3, 4));
  EXPECT_THAT(removable(members, {.keep = 5}), IsEmpty());
}

// A model of a long series with random sizes: what is kept always stands on a full snapshot that is
// there, and the disk holds no more than the rules allow.
TEST(SeriesRules, KeepWhatIsPromisedInABoundedSpace) {
  std::mt19937_64 random(7);
  for (int trial = 0; trial < 200; ++trial) {
    const SeriesRules rules = {.keep = static_cast<std::uint32_t>(1 + random() % 6),
                               .depth_max = static_cast<std::uint32_t>(1 + random() % 10)};
    const std::uint64_t full_bytes = 100 + random() % 1000;
    const std::uint64_t difference_bytes_max = 1 + random() % (2 * full_bytes);
    std::vector<SeriesMember> members;
    std::uint64_t number = 0;
    for (int save = 0; save < 100; ++save) {
      const bool first = members.empty();
      members.push_back({.number = ++number,
                         .stored_bytes = first ? full_bytes : 1 + random() % difference_bytes_max,
                         .is_full = first});
      if (is_flattening_due(members, rules)) {
        members.back().stored_bytes = full_bytes;
        members.back().is_full = true;
      }
      const std::vector<std::uint64_t> gone = removable(members, rules);
      members.erase(std::remove_if(members.begin(), members.end(),
                                   [&](const SeriesMember& member) {
                                     return std::binary_search(gone.begin(), gone.end(),
                                                               member.number);
                                   }),
                    members.end());
      ASSERT_TRUE(members.front().is_full);
      ASSERT_GE(members.size(), std::min<std::size_t>(rules.keep, number));
      ASSERT_EQ(members.back().number, number);
      // Every chain but the last has kept members only in part, and each stores less than twice
      // its base.
      const std::uint64_t chains = 1 + rules.keep;
      std::uint64_t bytes = 0;
      for (const SeriesMember& member : members) {
        bytes += member.stored_bytes;
      }
      ASSERT_LE(bytes, chains * 2 * full_bytes);
      ASSERT_LE(members.size(), rules.keep + rules.depth_max + 1);
    }
  }
}

}  // namespace
}  // namespace stasis::snapshot
