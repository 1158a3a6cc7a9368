#include "experiments/restore_latency/cells.h"

#include <algorithm>
#include <cstdio>
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

// Not the whole product, but every row and column of it that decides which policy to choose.
TEST_P(Cells, CrossPoliciesWithSizesAndTouchedSets) {
  const Workload workload = full_workload(GetParam());
  std::set<std::string> seen;
  for (const PlannedCell& planned : restore_latency_experiment(workload).cells) {
    seen.insert(planned.cell.id);
  }
  const auto expect = [&](const char* policy, std::uint64_t mib, std::uint32_t percent,
                          CacheState cache) {
    const std::string id = touching_id(policy, mib, percent, cache);
    EXPECT_TRUE(seen.contains(id)) << id;
  };
  for (const char* policy : {"lazy", "eager"}) {
    for (const std::uint32_t percent : {10U, 50U, 100U}) {
      expect(policy, workload.sizes.small_mib, percent, CacheState::kWarm);
    }
    expect(policy, workload.sizes.small_mib, 10, CacheState::kCold);
    expect(policy, workload.sizes.middle_mib, 0, CacheState::kWarm);
    expect(policy, workload.sizes.middle_mib, 10, CacheState::kWarm);
  }
  expect("lazy", workload.sizes.middle_mib, 0, CacheState::kCold);
  expect("lazy", workload.sizes.middle_mib, 10, CacheState::kCold);
  expect("lazy", workload.sizes.large_mib, 0, CacheState::kWarm);
}

// The request names as many pages as the share says, and none that the guest does not have.
TEST(CellsOnKvm, ATouchedShareIsThatShareOfTheGuestsPages) {
  const Workload workload = full_workload("kvm");
  std::size_t checked = 0;
  for (const PlannedCell& planned : restore_latency_experiment(workload).cells) {
    for (const std::uint32_t percent : {50U, 100U}) {
      if (planned.cell.id != touching_id("lazy", 256, percent, CacheState::kWarm) &&
          planned.cell.id != touching_id("eager", 256, percent, CacheState::kWarm)) {
        continue;
      }
      unsigned long count = 0;
      unsigned long stride = 0;
      const std::string request = planned.trial.text("request");
      ASSERT_EQ(std::sscanf(request.c_str(), "touch count=%lu stride=%lu", &count, &stride), 2);
      const unsigned long pages = (256 - 8) * 256;  // All but what the guest keeps for itself.
      EXPECT_EQ(count, pages * percent / 100) << planned.cell.id;
      EXPECT_LE(count * stride, pages) << planned.cell.id;
      ++checked;
    }
  }
  EXPECT_EQ(checked, 4U);
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
