// The experiments from end to end, as the command line runs them, with the smallest guests.
#include "experiments/experiment.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/harness/row.h"
#include "experiments/harness/text_file.h"
#include "session/backends.h"
#include "tests/experiments/temporary_directory.h"

namespace stasis::experiments {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Experiments : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (auto backend = session::make_backend(GetParam()); !backend) {
      GTEST_SKIP() << backend.error().to_string();
    }
    options_.backend = GetParam();
    options_.scale = Scale::kQuick;
    options_.trials = 1;
    options_.directory = directory_.file("run");
    options_.scratch_directory = directory_.file("scratch");
  }
  TemporaryDirectory directory_;
  RunOptions options_;
};

TEST_P(Experiments, RestoreLatencyMeasuresEveryCellAndReports) {
  auto outcome = run("restore_latency", options_);
  ASSERT_TRUE(outcome) << outcome.error().to_string();
  EXPECT_EQ(outcome->failed_rows, 0U) << outcome->summary;
  EXPECT_FALSE(outcome->interrupted);
  EXPECT_FALSE(outcome->quotable);  // It is quick.
  EXPECT_FALSE(outcome->not_quotable_because.empty());

  auto rows = read_rows(outcome->rows_path);
  ASSERT_TRUE(rows) << rows.error().to_string();
  std::set<std::string> cells;
  for (const Row& row : *rows) {
    cells.insert(row.cell);
    EXPECT_FALSE(row.metrics.empty()) << row.cell << ": " << row.error;
    EXPECT_FALSE(row.quotable);
    if (row.cell.starts_with("restore/")) {
      EXPECT_TRUE(row.cache.verified) << row.cell;
      EXPECT_EQ(row.cache.cached_pages, row.cache.asked == "cold" ? 0 : row.cache.data_pages);
      EXPECT_GT(row.metrics.count("first_response_ns"), 0U) << row.cell;
      EXPECT_FALSE(row.proof.empty()) << row.cell;
    }
  }
  EXPECT_EQ(rows->size(), cells.size() * 2);  // One warm-up block and one that counts.
  EXPECT_EQ(outcome->rows, cells.size());

  // Whatever the host's speed, memory must have come back right.
  const auto same = std::find_if(outcome->checks.begin(), outcome->checks.end(),
                                 [](const auto& check) { return check.name == "same_answers"; });
  ASSERT_NE(same, outcome->checks.end());
  EXPECT_EQ(same->verdict, CheckOutcome::Verdict::kPass) << same->figures;

  auto html = read_text_file(outcome->html_path);
  ASSERT_TRUE(html);
  EXPECT_THAT(*html, HasSubstr("</html>"));
  EXPECT_THAT(*html, HasSubstr("restore/lazy/"));
  EXPECT_EQ(*read_text_file(outcome->text_path), outcome->summary);
  EXPECT_TRUE(fs::is_empty(options_.scratch_directory)) << "snapshots were left behind";
}

TEST_P(Experiments, AnInterruptedRunKeepsItsRowsAndIsContinued) {
  const std::atomic<bool> cancel = true;
  options_.cancel = &cancel;
  auto interrupted = run("floor", options_);
  ASSERT_TRUE(interrupted) << interrupted.error().to_string();
  EXPECT_TRUE(interrupted->interrupted);
  EXPECT_EQ(interrupted->rows, 0U);
  options_.cancel = nullptr;
  auto first = run("floor", options_);
  ASSERT_TRUE(first) << first.error().to_string();
  EXPECT_EQ(first->failed_rows, 0U) << first->summary;
  const auto rows_before = read_rows(first->rows_path);
  ASSERT_TRUE(rows_before);

  options_.trials = 2;
  auto longer = run("floor", options_);
  ASSERT_TRUE(longer) << longer.error().to_string();
  EXPECT_EQ(longer->rows, 2 * first->rows);
  const auto rows_after = read_rows(first->rows_path);
  ASSERT_TRUE(rows_after);
  ASSERT_GT(rows_after->size(), rows_before->size());
  for (std::size_t i = 0; i < rows_before->size(); ++i) {
    EXPECT_EQ((*rows_after)[i].wall_ns, (*rows_before)[i].wall_ns)
        << "row " << i << " was replaced";
  }
  auto again = report(options_.directory);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->rows, longer->rows);
}

// Whatever the host's speed, what a run measured must be right: every cell, every proof.
void expect_sound(const Result<RunOutcome>& outcome, const std::vector<std::string>& checks) {
  ASSERT_TRUE(outcome) << outcome.error().to_string();
  EXPECT_EQ(outcome->failed_rows, 0U) << outcome->summary;
  EXPECT_GT(outcome->rows, 0U);
  for (const std::string& name : checks) {
    const auto found = std::find_if(outcome->checks.begin(), outcome->checks.end(),
                                    [&](const CheckOutcome& check) { return check.name == name; });
    ASSERT_NE(found, outcome->checks.end()) << name;
    EXPECT_EQ(found->verdict, CheckOutcome::Verdict::kPass) << name << ": " << found->figures;
  }
}

TEST_P(Experiments, FullVsDiffSavesWithTrackersAndRestoresChains) {
  options_.selection.trackers = {"compare", "compare-hash"};
  options_.selection.policies = {"eager", "lazy"};
  expect_sound(run("full_vs_diff", options_), {"same_answers", "trackers_agree"});
}

TEST_P(Experiments, RestoreScalingRestoresSeveralAtOnce) {
  options_.selection.policies = {"lazy"};
  expect_sound(run("restore_scaling", options_), {"same_answers"});
}

TEST_P(Experiments, DirtyTrackingMissesNothing) {
  options_.selection.trackers = {"compare-hash"};
  if (options_.backend == "kvm") {
    options_.selection.trackers.emplace_back("dirty-log");
  }
  expect_sound(run("dirty_tracking", options_), {"none_missed"});
}

TEST_P(Experiments, ResetLoopPutsBackWhatWasWrittenAndNothingElse) {
  options_.selection.trackers = {"compare-hash"};
  if (options_.backend == "kvm") {
    options_.selection.trackers.emplace_back("dirty-log");
  }
  expect_sound(run("reset_loop", options_), {"no_page_strays", "none_missed", "same_answers"});
}

// A small profile of our own, so that the loop is closed in seconds.
class Profiled : public Experiments {
 protected:
  void SetUp() override {
    Experiments::SetUp();
    options_.selection.profiles = {directory_.write(
        "small.json", R"({"name":"small","memory_mib":32,"zero_fraction":0.5,"pages":1000,)"
                      R"("mean_run":2.5,"unique_pages":200,"compression_ratio":2})")};
  }
};

TEST_P(Profiled, WhatAGuestTouchesIsWhatItsProfileSays) {
  expect_sound(run("ws_characterize", options_),
               {"working_set_pages/small", "mean_run_pages/small", "unique_pages/small",
                "zero_share/small", "compression_times/small"});
}

TEST_P(Profiled, EveryPolicyGivesTheSameAnswers) {
  expect_sound(run("policy_matrix", options_), {"same_answers"});
}

INSTANTIATE_TEST_SUITE_P(Backends, Profiled, testing::Values("kvm"),
                         [](const auto& param) { return std::string(param.param); });

INSTANTIATE_TEST_SUITE_P(Backends, Experiments, testing::Values("mock", "kvm"),
                         [](const auto& param) { return std::string(param.param); });

TEST(ExperimentList, NamesEveryExperimentWithItsQuestion) {
  std::set<std::string> names;
  for (const ExperimentInfo& info : list()) {
    EXPECT_TRUE(names.insert(info.name).second);
    EXPECT_FALSE(info.question.empty());
    EXPECT_FALSE(info.takes.empty());
  }
  EXPECT_TRUE(names.contains("floor"));
  EXPECT_TRUE(names.contains("restore_latency"));
}

TEST(ExperimentRun, AnUnknownNameListsTheKnown) {
  auto outcome = run("restore_latencies", {.backend = "mock"});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::kNotFound);
  EXPECT_THAT(outcome.error().message, HasSubstr("restore_latency"));
}

TEST(ExperimentRun, AGuestThatCannotBeToldWhatToTouchIsRefused) {
  for (const char* name : {"ws_characterize", "policy_matrix"}) {
    auto outcome = run(name, {.backend = "mock"});
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().code, Errc::kNotSupported) << name;
  }
}

TEST(ExperimentRun, ADirectoryThatCannotBeMadeIsNamed) {
  const TemporaryDirectory directory;
  const std::string file = directory.write("file", "in the way");
  auto outcome =
      run("floor", {.directory = file + "/run", .scale = Scale::kQuick, .backend = "mock"});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::kIo);
  EXPECT_THAT(outcome.error().message, HasSubstr(file + "/run"));
}

TEST(ExperimentRun, AnotherSelectionIsAnotherRun) {
  const TemporaryDirectory directory;
  RunOptions options{.directory = directory.file("run"),
                     .scale = Scale::kQuick,
                     .backend = "mock",
                     .trials = 1,
                     .selection = {.trackers = {"compare"}}};
  const std::atomic<bool> cancel = true;
  options.cancel = &cancel;
  ASSERT_TRUE(run("full_vs_diff", options));
  options.selection.trackers = {"compare-hash"};
  auto other = run("full_vs_diff", options);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(other.error().message, HasSubstr("other cells"));
}

TEST(ExperimentRun, APartOfTheCellsIsMeasuredAlone) {
  const TemporaryDirectory directory;
  const auto outcome = run("floor", {.directory = directory.file("run"),
                                     .scale = Scale::kQuick,
                                     .backend = "mock",
                                     .trials = 1,
                                     .selection = {.cells = {"xxh3", "zero_scan"}}});
  ASSERT_TRUE(outcome) << outcome.error().to_string();
  EXPECT_EQ(outcome->rows, 2U) << outcome->summary;
  EXPECT_EQ(outcome->failed_rows, 0U) << outcome->summary;
}

TEST(ExperimentRun, ADirectoryWithOtherFilesIsRefusedBeforeAnythingIsMade) {
  const TemporaryDirectory directory;
  directory.write("notes.txt", "keep me");
  auto outcome =
      run("floor", {.directory = directory.path(), .scale = Scale::kQuick, .backend = "mock"});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(outcome.error().message, HasSubstr("notes.txt"));
}

TEST(ExperimentReport, ADirectoryWithoutARunIsNamed) {
  auto outcome = report("/does/not/exist");
  ASSERT_FALSE(outcome);
  EXPECT_THAT(outcome.error().message, HasSubstr("/does/not/exist"));
}

}  // namespace
}  // namespace stasis::experiments
