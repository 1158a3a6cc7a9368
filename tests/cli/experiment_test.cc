// stasis experiment and stasis report: what a user sees of runs, comparisons and pages.
#include <nlohmann/json.hpp>

#include <filesystem>
#include <memory>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cli/program.h"

namespace stasis::cli::test {
namespace {

using ::testing::HasSubstr;

// One run of the smallest experiment for all tests: of the mock, so that every host has it.
class ExperimentCommand : public ::testing::Test {
 protected:
  static constexpr const char* kCells = "memcpy,zero_scan,xxh3";  // Those that take no time.

  static void SetUpTestSuite() {
    directory_ = std::make_unique<TemporaryDirectory>();
    const Outcome outcome =
        run({"experiment", "run", "floor", "--quick", "-n", "3", "--backend", "mock", "--cells",
             kCells, "--quiet", "--out", *directory_ / "run"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  }
  static void TearDownTestSuite() { directory_.reset(); }
  static std::string path(const std::string& name) { return *directory_ / name; }

  // A copy of the run whose headline times are `times` as long.
  static std::string copy_of_run(const std::string& name, double times) {
    const std::string copy = path(name);
    std::filesystem::create_directories(copy);
    write_file(copy + "/plan.json", read_file(path("run") + "/plan.json"));
    std::istringstream rows(read_file(path("run") + "/rows.jsonl"));
    std::string changed;
    for (std::string line; std::getline(rows, line);) {
      nlohmann::ordered_json row = nlohmann::ordered_json::parse(line);
      for (auto& [metric, value] : row["metrics"].items()) {
        value = value.get<double>() * times;
      }
      changed += row.dump() + "\n";
    }
    write_file(copy + "/rows.jsonl", changed);
    return copy;
  }

  inline static std::unique_ptr<TemporaryDirectory> directory_;
};
TEST_F(ExperimentCommand, SaysBeforehandWhatItIsGoingToDo) {
  const Outcome outcome = run({"experiment", "run", "floor", "--quick", "--n", "3", "--backend",
                               "mock", "--cells", kCells, "--out", path("run")});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("3 trials of each after 1 to warm up"));
  EXPECT_THAT(outcome.err, HasSubstr("none is to be made"));  // It was there already.
}

TEST_F(ExperimentCommand, CellsThatAreNotThereAreRefusedWithThoseThatAre) {
  const Outcome outcome = run({"experiment", "run", "floor", "--quick", "--backend", "mock",
                               "--cells", "memcopy", "--out", path("none")});
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("'memcopy'"));
  EXPECT_THAT(outcome.err, HasSubstr("begin with floor/"));
}

TEST_F(ExperimentCommand, ARunAgainstItselfIsNotWorse) {
  const Outcome outcome = run({"experiment", "compare", path("run"), path("run"), "--json"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.out;
  const nlohmann::json json = outcome.json();
  EXPECT_EQ(json.at("worse"), 0);
  EXPECT_EQ(json.at("experiment"), "floor");
  EXPECT_GT(json.at("cells").size(), 3U);
  EXPECT_EQ(json.at("cells")[0].at("ratio"), 1.0);
}

TEST_F(ExperimentCommand, ASlowerRunExitsWithOneAndNamesTheCells) {
  const std::string slower = copy_of_run("slower", 100);
  const Outcome outcome = run({"experiment", "compare", path("run"), slower});
  EXPECT_EQ(outcome.exit_code, 1) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("WORSE"));
  EXPECT_THAT(outcome.out, HasSubstr("floor/memcpy/"));
  EXPECT_EQ(run({"experiment", "compare", slower, path("run")}).exit_code, 0);
}

TEST_F(ExperimentCommand, WhatIsNoRunIsNamed) {
  const Outcome absent = run({"experiment", "compare", path("run"), path("nowhere")});
  EXPECT_EQ(absent.exit_code, 5);
  EXPECT_THAT(absent.err, HasSubstr("nowhere"));
  std::filesystem::create_directories(path("torn"));
  write_file(path("torn") + "/plan.json", "{\"schema\":");
  const Outcome torn = run({"experiment", "compare", path("run"), path("torn")});
  EXPECT_EQ(torn.exit_code, 3);
  EXPECT_THAT(torn.err, HasSubstr("torn/plan.json"));
}

TEST_F(ExperimentCommand, ReportIsOnePageWithAComparisonAndExports) {
  const Outcome outcome =
      run({"report", path("run"), copy_of_run("other", 2), "--against", path("run"), "--out",
           path("page.html"), "--csv", path("csv"), "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.out;
  EXPECT_EQ(outcome.json().at("runs").size(), 2U);
  const std::string page = read_file(path("page.html"));
  EXPECT_THAT(page, HasSubstr("Stasis: 2 runs"));
  EXPECT_THAT(page, HasSubstr("<h2>Against "));
  EXPECT_THAT(page, HasSubstr("href=\"run/rows.jsonl\""));
  EXPECT_THAT(page, HasSubstr("href=\"other/rows.jsonl\""));
  EXPECT_EQ(page.find("http"), std::string::npos);
  EXPECT_THAT(read_file(path("csv") + "/floor/cells.csv"), HasSubstr("memcpy_ns"));
  EXPECT_TRUE(exists(path("csv") + "/floor-2/trials.csv"));
}

TEST_F(ExperimentCommand, ReportThatCannotBeWrittenSaysWhere) {
  const Outcome outcome = run({"report", path("run"), "--out", path("run/plan.json/page.html")});
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(outcome.err, HasSubstr("page.html"));
}

TEST_F(ExperimentCommand, ComparingDifferentExperimentsIsRefused) {
  const std::string other = copy_of_run("strange", 1);
  std::string plan = read_file(other + "/plan.json");
  plan.replace(plan.find("\"floor\""), 7, "\"other\"");
  write_file(other + "/plan.json", plan);
  const Outcome compared = run({"experiment", "compare", path("run"), other});
  EXPECT_EQ(compared.exit_code, 2);
  EXPECT_THAT(compared.err, HasSubstr("'other'"));
  const Outcome reported = run({"report", path("run"), "--against", other});
  EXPECT_EQ(reported.exit_code, 2);
  EXPECT_THAT(reported.err, HasSubstr("'other'"));
}

}  // namespace
}  // namespace stasis::cli::test
