#include "experiments/harness/schedule.h"

#include <map>
#include <set>

#include <gtest/gtest.h>

namespace stasis::experiments {
namespace {

TEST(Schedule, EveryBlockHoldsEveryCellExactlyOnce) {
  const std::vector<TrialSlot> slots = make_schedule(7, 5, kWarmupBlocks, 42);
  ASSERT_EQ(slots.size(), 7U * (5 + kWarmupBlocks));
  std::map<std::uint32_t, std::set<std::size_t>> cells;
  std::map<std::uint32_t, std::set<std::uint32_t>> orders;
  for (const TrialSlot& slot : slots) {
    EXPECT_LT(slot.cell, 7U);
    EXPECT_TRUE(cells[slot.block].insert(slot.cell).second);
    EXPECT_TRUE(orders[slot.block].insert(slot.order).second);
  }
  EXPECT_EQ(cells.size(), 5U + kWarmupBlocks);
}

TEST(Schedule, BlocksFollowEachOtherAndTheFirstOnesWarmUp) {
  std::uint32_t block = 0;
  for (const TrialSlot& slot : make_schedule(3, 4, 2, 1)) {
    EXPECT_GE(slot.block, block);
    block = slot.block;
    EXPECT_EQ(slot.warmup, slot.block < 2);
  }
  EXPECT_EQ(block, 5U);
}

TEST(Schedule, TheSeedDecidesTheOrder) {
  EXPECT_EQ(make_schedule(9, 10, 3, 1), make_schedule(9, 10, 3, 1));
  EXPECT_NE(make_schedule(9, 10, 3, 1), make_schedule(9, 10, 3, 2));
}

TEST(Schedule, MoreTrialsContinueAShorterRun) {
  const std::vector<TrialSlot> few = make_schedule(5, 4, 3, 8);
  std::vector<TrialSlot> many = make_schedule(5, 20, 3, 8);
  many.resize(few.size());
  EXPECT_EQ(few, many);
}

// Each of 4 cells should be first in about a quarter of 400 blocks.
TEST(Schedule, NoCellIsFavouredByItsPlaceInTheBlock) {
  std::array<int, 4> first = {};
  for (const TrialSlot& slot : make_schedule(4, 400, 0, 3)) {
    if (slot.order == 0) {
      ++first.at(slot.cell);
    }
  }
  double chi_squared = 0;
  for (const int count : first) {
    chi_squared += (count - 100.0) * (count - 100.0) / 100.0;
  }
  EXPECT_LT(chi_squared, 16.27);  // 99.9 % point with 3 degrees of freedom.
}

}  // namespace
}  // namespace stasis::experiments
