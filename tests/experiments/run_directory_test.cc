#include "experiments/harness/run_directory.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/experiments/temporary_directory.h"

namespace stasis::experiments {
namespace {

Plan sample_plan() {
  Plan plan;
  plan.experiment = "restore_latency";
  plan.backend = "mock";
  plan.scale = "quick";
  plan.identity = {{"commit", "abc"}};
  plan.cells = {
      {.id = "a",
       .factors = {{"policy", "lazy"}},
       .headline = "x_ns",
       .floor_cell = "b",
       .floor_metric = "y_ns"},
      {.id = "b", .factors = {}, .headline = "y_ns", .floor_cell = {}, .floor_metric = {}}};
  return plan;
}

Row row_of(const Plan& plan, std::uint32_t block, const std::string& cell) {
  Row row;
  row.plan = plan_id(plan);
  row.block = block;
  row.cell = cell;
  row.metrics = {{"x_ns", 1.0}};
  return row;
}

TEST(Plan, SurvivesItsOwnJson) {
  auto plan = plan_from_json(to_json_text(sample_plan()), "plan.json");
  ASSERT_TRUE(plan) << plan.error().to_string();
  EXPECT_EQ(*plan, sample_plan());
}

TEST(Plan, ItsIdChangesWithEverythingButTheNumberOfTrials) {
  const std::string id = plan_id(sample_plan());
  Plan plan = sample_plan();
  plan.trials = 100;
  EXPECT_EQ(plan_id(plan), id);
  plan.seed = 2;
  EXPECT_NE(plan_id(plan), id);
  plan = sample_plan();
  plan.identity[0].second = "def";
  EXPECT_NE(plan_id(plan), id);
  plan = sample_plan();
  plan.cells.pop_back();
  EXPECT_NE(plan_id(plan), id);
}

TEST(RunDirectory, KeepsTheRowsOfAnEarlierRunOfTheSamePlan) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("run");
  {
    auto run = RunDirectory::open(path, sample_plan());
    ASSERT_TRUE(run) << run.error().to_string();
    EXPECT_FALSE(run->has_row(0, "a"));
    ASSERT_TRUE(run->append(row_of(sample_plan(), 0, "a"), {}));
    EXPECT_TRUE(run->has_row(0, "a"));
  }
  Plan longer = sample_plan();
  longer.trials = 60;
  auto run = RunDirectory::open(path, longer);
  ASSERT_TRUE(run) << run.error().to_string();
  EXPECT_EQ(run->resumed_rows(), 1U);
  EXPECT_TRUE(run->has_row(0, "a"));
  EXPECT_FALSE(run->has_row(0, "b"));
  EXPECT_FALSE(run->has_row(1, "a"));
  ASSERT_TRUE(run->append(row_of(longer, 0, "b"), {}));
  auto rows = read_rows(run->rows_path());
  ASSERT_TRUE(rows);
  EXPECT_EQ(rows->size(), 2U);
}

TEST(RunDirectory, AFailedTrialIsMadeAgain) {
  const TemporaryDirectory directory;
  {
    auto run = RunDirectory::open(directory.file("run"), sample_plan());
    ASSERT_TRUE(run);
    Row row = row_of(sample_plan(), 0, "a");
    row.error = "it broke";
    ASSERT_TRUE(run->append(row, {}));
    EXPECT_FALSE(run->has_row(0, "a"));
  }
  auto run = RunDirectory::open(directory.file("run"), sample_plan());
  ASSERT_TRUE(run);
  EXPECT_FALSE(run->has_row(0, "a"));
}

TEST(RunDirectory, ATornLineIsCutBeforeTheNextRowIsAppended) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("run");
  { ASSERT_TRUE(RunDirectory::open(path, sample_plan())); }
  std::ofstream(path + "/rows.jsonl", std::ios::app) << R"({"schema":1,"exper)";
  auto run = RunDirectory::open(path, sample_plan());
  ASSERT_TRUE(run) << run.error().to_string();
  ASSERT_TRUE(run->append(row_of(sample_plan(), 3, "a"), {}));
  auto rows = read_rows(run->rows_path());
  ASSERT_TRUE(rows) << rows.error().to_string();
  ASSERT_EQ(rows->size(), 1U);
  EXPECT_EQ((*rows)[0].block, 3U);
}

TEST(RunDirectory, AnotherPlanIsRefusedAndTheDifferenceNamed) {
  const TemporaryDirectory directory;
  { ASSERT_TRUE(RunDirectory::open(directory.file("run"), sample_plan())); }
  Plan other = sample_plan();
  other.seed = 9;
  auto run = RunDirectory::open(directory.file("run"), other);
  ASSERT_FALSE(run);
  EXPECT_EQ(run.error().code, Errc::kInvalidArgument);
  EXPECT_NE(run.error().message.find("seed 1, not 9"), std::string::npos) << run.error().message;
  other = sample_plan();
  other.identity[0].second = "def";
  run = RunDirectory::open(directory.file("run"), other);
  ASSERT_FALSE(run);
  EXPECT_NE(run.error().message.find("commit abc, not def"), std::string::npos);
}

TEST(RunDirectory, ADirectoryOfSomethingElseIsLeftAlone) {
  const TemporaryDirectory directory;
  directory.write("thesis.tex", "years of work");
  auto run = RunDirectory::open(directory.path(), sample_plan());
  ASSERT_FALSE(run);
  EXPECT_NE(run.error().message.find("thesis.tex"), std::string::npos) << run.error().message;
  EXPECT_FALSE(std::filesystem::exists(directory.file("rows.jsonl")));
}

TEST(RunDirectory, TwoRunsCannotShareADirectory) {
  const TemporaryDirectory directory;
  auto first = RunDirectory::open(directory.file("run"), sample_plan());
  ASSERT_TRUE(first);
  auto second = RunDirectory::open(directory.file("run"), sample_plan());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::kAlreadyExists);
}

}  // namespace
}  // namespace stasis::experiments
