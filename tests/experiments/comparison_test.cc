// Two runs held against each other, with invented rows.
#include "experiments/report/comparison.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/experiments/sample_run.h"
#include "tests/experiments/temporary_directory.h"

namespace stasis::experiments {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Verdict = CellComparison::Verdict;

class CompareRuns : public testing::Test {
 protected:
  // A spread of +-2 % around `ns`.
  static void measure(const TemporaryDirectory& directory, double full_ns, double diff_ns,
                      const HostFacts& host = {{"cpu", "C"}}, Plan plan = sample_plan()) {
    write_run(
        directory.path(), plan,
        [&](Row& row) {
          const double ns = row.cell == "save/full" ? full_ns : diff_ns;
          row.metrics["save_ns"] = ns * (0.98 + 0.04 * ((row.block * 7) % 10) / 9);
        },
        host);
  }
  TemporaryDirectory before_, after_;
};

TEST_F(CompareRuns, SlowerFasterAndEqualCellsAreToldApart) {
  measure(before_, 100e6, 50e6);
  measure(after_, 150e6, 30e6);
  auto comparison = compare(before_.path(), after_.path());
  ASSERT_TRUE(comparison) << comparison.error().to_string();
  ASSERT_EQ(comparison->cells.size(), 2U);
  EXPECT_EQ(comparison->cells[0].verdict, Verdict::kWorse);
  EXPECT_NEAR(comparison->cells[0].ratio.estimate, 1.5, 1e-6);
  EXPECT_LT(comparison->cells[0].ratio.low, 1.5);
  EXPECT_GT(comparison->cells[0].ratio.high, 1.5);
  EXPECT_EQ(comparison->cells[0].cliffs_delta, 1);
  EXPECT_EQ(comparison->cells[1].verdict, Verdict::kBetter);
  EXPECT_EQ(comparison->cells[1].cliffs_delta, -1);
  EXPECT_EQ(comparison->worse, 1U);
  EXPECT_EQ(comparison->better, 1U);
  ASSERT_TRUE(comparison->mean_ratio);
  EXPECT_NEAR(*comparison->mean_ratio, std::sqrt(1.5 * 0.6), 1e-6);
  EXPECT_THAT(comparison->summary, HasSubstr("WORSE"));
  EXPECT_THAT(comparison->summary, HasSubstr("+50.0 %"));
}

TEST_F(CompareRuns, ARunAgainstItselfIsTheSame) {
  measure(before_, 100e6, 50e6);
  auto comparison = compare(before_.path(), before_.path());
  ASSERT_TRUE(comparison);
  EXPECT_EQ(comparison->cells[0].verdict, Verdict::kSame);
  EXPECT_EQ(comparison->worse + comparison->better + comparison->undecided, 0U);
}

TEST_F(CompareRuns, WithinTheThresholdNothingIsWorse) {
  measure(before_, 100e6, 50e6);
  measure(after_, 110e6, 50e6);
  EXPECT_EQ(compare(before_.path(), after_.path(), {.threshold = 0.05})->worse, 1U);
  EXPECT_EQ(compare(before_.path(), after_.path(), {.threshold = 0.2})->worse, 0U);
}

TEST_F(CompareRuns, AWideIntervalDecidesNothing) {
  measure(before_, 100e6, 50e6);
  write_run(after_.path(), sample_plan(),
            [](Row& row) { row.metrics["save_ns"] = row.block % 2 == 0 ? 20e6 : 400e6; });
  auto comparison = compare(before_.path(), after_.path());
  ASSERT_TRUE(comparison);
  EXPECT_EQ(comparison->undecided, 2U);
  EXPECT_GT(comparison->cells[0].minimum_detectable_effect, 0.5);
}

TEST_F(CompareRuns, PairsCancelADriftThatBothRunsShare) {
  const auto drifting = [](double times) {
    return [times](Row& row) { row.metrics["save_ns"] = times * 1e6 * (1 + row.block); };
  };
  write_run(before_.path(), sample_plan(), drifting(1));
  write_run(after_.path(), sample_plan(), drifting(1.2));
  EXPECT_EQ(compare(before_.path(), after_.path())->undecided, 2U);
  auto paired = compare(before_.path(), after_.path(), {.paired = true});
  ASSERT_TRUE(paired);
  EXPECT_EQ(paired->worse, 2U);
  EXPECT_NEAR(paired->cells[0].ratio.low, 1.2, 1e-9);
}

TEST_F(CompareRuns, CellsOfOneRunAloneAreMissing) {
  Plan plan = sample_plan();
  plan.cells[1].id = "save/diff/fork/dirty10";
  measure(before_, 100e6, 50e6);
  measure(after_, 100e6, 50e6, {}, plan);
  auto comparison = compare(before_.path(), after_.path());
  ASSERT_TRUE(comparison);
  ASSERT_EQ(comparison->cells.size(), 3U);
  EXPECT_EQ(comparison->cells[1].verdict, Verdict::kMissing);
  EXPECT_EQ(comparison->cells[2].cell, "save/diff/fork/dirty10");
  EXPECT_EQ(comparison->cells[2].verdict, Verdict::kMissing);
  EXPECT_THAT(comparison->summary, HasSubstr("10 and 0 trials: missing"));
}

TEST_F(CompareRuns, SaysWhatElseDiffers) {
  measure(before_, 100e6, 50e6, {{"cpu", "C"}, {"commit", "abc"}});
  measure(after_, 100e6, 50e6, {{"cpu", "C"}, {"commit", "def"}});
  auto comparison = compare(before_.path(), after_.path());
  ASSERT_TRUE(comparison);
  EXPECT_THAT(comparison->differences, ElementsAre("commit: abc, def"));
}

TEST_F(CompareRuns, RunsOfDifferentThingsAreRefused) {
  Plan plan = sample_plan();
  plan.experiment = "floor";
  measure(before_, 1, 1);
  measure(after_, 1, 1, {}, plan);
  auto refused = compare(before_.path(), after_.path());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(refused.error().message, HasSubstr("floor"));
  plan = sample_plan();
  plan.scale = "quick";
  measure(after_, 1, 1, {}, plan);
  EXPECT_FALSE(compare(before_.path(), after_.path()));
}

TEST_F(CompareRuns, AThresholdOutsideItsRangeIsRefused) {
  measure(before_, 1, 1);
  EXPECT_FALSE(compare(before_.path(), before_.path(), {.threshold = -0.1}));
  EXPECT_FALSE(compare(before_.path(), before_.path(), {.threshold = 1}));
}

// What directories may hold that no run has left there whole.
TEST_F(CompareRuns, DirectoriesWithoutAReadableRunAreNamed) {
  measure(before_, 1, 1);
  const auto error_of = [&](const std::string& directory) {
    auto comparison = compare(before_.path(), directory);
    return comparison ? std::string("none") : comparison.error().message;
  };
  EXPECT_THAT(error_of("/does/not/exist"), HasSubstr("/does/not/exist"));
  EXPECT_THAT(error_of(after_.path()), HasSubstr("plan.json"));
  after_.write("plan.json", "{");
  EXPECT_THAT(error_of(after_.path()), HasSubstr("not a plan"));
  after_.write("plan.json", R"({"schema":7})");
  EXPECT_THAT(error_of(after_.path()), HasSubstr("plan schema 7"));
  after_.write("plan.json", to_json_text(sample_plan()));
  EXPECT_THAT(error_of(after_.path()), HasSubstr("rows.jsonl"));
  after_.write("rows.jsonl", "{\"schema\":99}\n");
  EXPECT_THAT(error_of(after_.path()), HasSubstr("rows.jsonl:1: row schema 99"));
  after_.write("rows.jsonl", "not a row\n");
  EXPECT_THAT(error_of(after_.path()), HasSubstr("rows.jsonl:1"));
}

}  // namespace
}  // namespace stasis::experiments
