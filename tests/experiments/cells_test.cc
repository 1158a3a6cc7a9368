#include "experiments/restore_latency/cells.h"

#include <algorithm>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "experiments/harness/trial.h"

namespace stasis::experiments {
namespace {

class Cells : public testing::TestWithParam<const char*> {
 protected:
  void each(void (*use)(const Experiment&)) {
    for (const Workload& workload : {full_workload(GetParam()), quick_workload(GetParam())}) {
      use(restore_latency_experiment(workload));
      use(floor_experiment(workload));
    }
  }
};

TEST_P(Cells, HaveUniqueIdsAndAHeadline) {
  each([](const Experiment& experiment) {
    std::set<std::string> ids;
    for (const PlannedCell& planned : experiment.cells) {
      EXPECT_TRUE(ids.insert(planned.cell.id).second) << planned.cell.id;
      EXPECT_FALSE(planned.cell.headline.empty()) << planned.cell.id;
      EXPECT_FALSE(planned.trial.kind.empty()) << planned.cell.id;
    }
    EXPECT_GE(ids.size(), 5U) << experiment.name;
  });
}

TEST_P(Cells, NameOnlyFloorsThatAreMeasuredInTheSameRun) {
  each([](const Experiment& experiment) {
    std::set<std::string> ids;
    for (const PlannedCell& planned : experiment.cells) {
      ids.insert(planned.cell.id);
    }
    for (const PlannedCell& planned : experiment.cells) {
      EXPECT_TRUE(planned.cell.floor_cell.empty() || ids.contains(planned.cell.floor_cell))
          << planned.cell.id;
    }
  });
}

TEST_P(Cells, UseOnlySnapshotsThatAreMadeBefore) {
  each([](const Experiment& experiment) {
    std::set<std::string> made;
    const auto check = [&](const TrialRequest& request, const std::string& who) {
      const std::string snapshot = request.text("snapshot");
      EXPECT_TRUE(snapshot.empty() || made.contains(snapshot.substr(2))) << who;
      const std::string path = request.text("path");
      EXPECT_TRUE(path.empty() || made.contains(path.substr(2, path.rfind('/') - 2))) << who;
    };
    for (const Preparation& preparation : experiment.preparations) {
      check(preparation.trial, preparation.what);
      EXPECT_EQ(preparation.trial.text("out"), kScratchPrefix + preparation.product);
      made.insert(preparation.product);
    }
    for (const PlannedCell& planned : experiment.cells) {
      check(planned.trial, planned.cell.id);
      EXPECT_EQ(planned.cache.has_value(), !planned.cached_directories.empty());
      for (const std::string& directory : planned.cached_directories) {
        EXPECT_TRUE(made.contains(directory)) << planned.cell.id;
      }
    }
  });
}

TEST_P(Cells, CrossPoliciesWithBothCacheStates) {
  const Experiment experiment = restore_latency_experiment(full_workload(GetParam()));
  std::set<std::string> seen;
  for (const PlannedCell& planned : experiment.cells) {
    if (planned.trial.kind == "restore") {
      seen.insert(planned.trial.text("policy") + "/" + std::string(name_of(*planned.cache)));
    }
  }
  EXPECT_EQ(seen, (std::set<std::string>{"eager/cold", "eager/warm", "lazy/cold", "lazy/warm"}));
}

INSTANTIATE_TEST_SUITE_P(Backends, Cells, testing::Values("kvm", "mock"),
                         [](const auto& param) { return std::string(param.param); });

TEST(Trial, RequestsAndRepliesSurviveTheirJson) {
  const TrialRequest request{.kind = "restore", .parameters = {{"snapshot", "a \"b\""}}};
  auto parsed = trial_request_from_json(to_json_text(request));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(*parsed, request);
  const TrialReply reply{.metrics = {{"a_ns", 1.5}}, .proof = "hash=1", .error = "it broke"};
  auto answered = trial_reply_from_json(to_json_text(reply));
  ASSERT_TRUE(answered);
  EXPECT_EQ(*answered, reply);
}

TEST(Trial, OtherTextIsRefused) {
  EXPECT_FALSE(trial_request_from_json(""));
  EXPECT_FALSE(trial_request_from_json("[]"));
  EXPECT_FALSE(trial_request_from_json(R"({"kind":"restore"})"));
  EXPECT_FALSE(trial_reply_from_json("Segmentation fault"));
}

TEST(Trial, NumbersThatAreNoneAreNamed) {
  const TrialRequest request{.kind = "restore", .parameters = {{"threads", "2x"}}};
  auto threads = request.number("threads", 1);
  ASSERT_FALSE(threads);
  EXPECT_NE(threads.error().message.find("threads"), std::string::npos);
  EXPECT_EQ(*request.number("absent", 7), 7U);
}

TEST(Trial, OnlyMarkedParametersAreMovedIntoTheScratchDirectory) {
  const TrialRequest request{.kind = "x",
                             .parameters = {{"out", "@/a/b"}, {"request", "touch @/"}}};
  const TrialRequest made = with_scratch(request, "/scratch");
  EXPECT_EQ(made.text("out"), "/scratch/a/b");
  EXPECT_EQ(made.text("request"), "touch @/");
}

}  // namespace
}  // namespace stasis::experiments
