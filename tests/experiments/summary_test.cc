#include "experiments/harness/summary.h"

#include <gtest/gtest.h>

namespace stasis::experiments {
namespace {

class Summary : public testing::Test {
 protected:
  Summary() {
    plan_.cells = {
        {.id = "lazy",
         .factors = {},
         .headline = "ns",
         .floor_cell = "floor",
         .floor_metric = "ns"},
        {.id = "floor", .factors = {}, .headline = "ns", .floor_cell = {}, .floor_metric = {}},
        {.id = "never",
         .factors = {},
         .headline = "ns",
         .floor_cell = "floor",
         .floor_metric = "ns"}};
  }
  Row& add(const std::string& cell, std::uint32_t block, double ns) {
    Row row;
    row.plan = plan_id(plan_);
    row.cell = cell;
    row.block = block;
    row.metrics = {{"ns", ns}};
    rows_.push_back(row);
    return rows_.back();
  }
  Plan plan_;
  std::vector<Row> rows_;
};

TEST_F(Summary, WarmUpsErrorsAndRowsOfOtherPlansDoNotCount) {
  add("lazy", 0, 1e9).warmup = true;
  add("lazy", 1, 1e9).error = "broke";
  add("lazy", 2, 1e9).plan = "another";
  add("lazy", 3, 10);
  add("lazy", 4, 20);
  add("lazy", 5, 30).noise.reasons = {"busy"};
  const RowTable table(plan_, rows_);
  const std::vector<CellSummary> cells = summarize(plan_, table);
  ASSERT_EQ(cells.size(), 3U);
  EXPECT_EQ(cells[0].trials, 3U);
  EXPECT_EQ(cells[0].tainted, 1U);
  EXPECT_EQ(cells[0].failed, 1U);
  EXPECT_DOUBLE_EQ(cells[0].metrics.at("ns").median.estimate, 20);
  EXPECT_DOUBLE_EQ(cells[0].metrics.at("ns").min, 10);
  EXPECT_DOUBLE_EQ(cells[0].metrics.at("ns").max, 30);
  EXPECT_TRUE(cells[2].metrics.empty());
  EXPECT_FALSE(cells[2].times_floor);
}

TEST_F(Summary, ATrialMadeAgainAfterAFailureIsNoFailure) {
  add("lazy", 1, 0).error = "broke";
  add("lazy", 1, 10);
  EXPECT_EQ(RowTable(plan_, rows_).failed(), 0U);
}

TEST_F(Summary, TheFloorIsPairedByBlock) {
  // The ratio is exactly 2 in every block that has both; medians alone would say otherwise.
  for (std::uint32_t block = 3; block < 13; ++block) {
    add("floor", block, 100.0 * block);
    if (block < 8) {
      add("lazy", block, 200.0 * block);
    }
  }
  const std::vector<CellSummary> cells = summarize(plan_, RowTable(plan_, rows_));
  ASSERT_TRUE(cells[0].times_floor);
  EXPECT_DOUBLE_EQ(cells[0].times_floor->estimate, 2);
  EXPECT_DOUBLE_EQ(cells[0].times_floor->low, 2);
  EXPECT_DOUBLE_EQ(cells[0].times_floor->high, 2);
}

}  // namespace
}  // namespace stasis::experiments
