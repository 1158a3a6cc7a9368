// What `--tracker auto` takes by figures that are invented here, and that it says why.
#include "snapshot/trackers/tracker_choice.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/trackers/tracker_catalog.h"
#include "snapshot/trackers/tracker_models.h"

namespace stasis::snapshot {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<Availability> all_available() {
  std::vector<Availability> trackers;
  for (const Availability& tracker : list_trackers(Capabilities{})) {
    trackers.push_back({tracker.name, true, "", ""});
  }
  return trackers;
}

std::vector<std::string> names_of(const std::vector<RankedTracker>& trackers) {
  std::vector<std::string> names;
  std::transform(trackers.begin(), trackers.end(), std::back_inserter(names),
                 [](const RankedTracker& tracker) { return tracker.name; });
  return names;
}

// A log that pays for writes, and a comparison that pays for memory.
CostTable two_trackers() {
  return {"invented",
          {{"dirty-log", {.arm_ns = 1000, .first_write_ns = 100, .collect_dirty_ns = 10}},
           {"compare-hash", {.arm_page_ns = 20, .collect_page_ns = 20}}}};
}

std::string best(const CostTable& costs, const TrackerWorkload& workload) {
  return rank_trackers(all_available(), costs, workload).best_first.front().name;
}

TEST(TrackerChoice, FewWritesAreLoggedAndManyAreFoundByComparing) {
  TrackerWorkload workload{.memory_pages = 10000, .resident_pages = 10000, .dirty_pages = 100};
  // 1000 + 100 * 110 against 10000 * 40.
  EXPECT_EQ(best(two_trackers(), workload), "dirty-log");
  workload.dirty_pages = 10000;  // 1101000 against 400000.
  EXPECT_EQ(best(two_trackers(), workload), "compare-hash");
}

TEST(TrackerChoice, EveryVcpuStandsStillWhileTheTrackerWorks) {
  TrackerWorkload workload{.memory_pages = 10000, .resident_pages = 10000, .dirty_pages = 10000};
  EXPECT_EQ(best(two_trackers(), workload), "compare-hash");
  workload.vcpus = 4;  // 1000000 + 4 * 101000 against 4 * 400000.
  EXPECT_EQ(best(two_trackers(), workload), "dirty-log");
}

TEST(TrackerChoice, AThreadThatAnswersAllVcpusHasThemWait) {
  const CostTable costs{"invented", {{"protection", {.first_write_ns = 10}}}};
  const TrackerWorkload one{.memory_pages = 100, .dirty_pages = 10};
  TrackerWorkload four = one;
  four.vcpus = 4;
  EXPECT_DOUBLE_EQ(predict_cost("protection", costs, one).writes_ns, 100);
  EXPECT_DOUBLE_EQ(predict_cost("protection", costs, four).writes_ns, 400);
  const CostTable log{"invented", {{"dirty-log", {.first_write_ns = 10}}}};
  EXPECT_DOUBLE_EQ(predict_cost("dirty-log", log, four).writes_ns, 100);
}

TEST(TrackerChoice, WhatLooksAtPresentPagesPaysForThoseAlone) {
  const CostTable costs{
      "invented",
      {{"pagemap-scan", {.collect_page_ns = 1}}, {"dirty-log", {.collect_page_ns = 1}}}};
  const TrackerWorkload workload{.memory_pages = 1000, .resident_pages = 10};
  EXPECT_DOUBLE_EQ(predict_cost("pagemap-scan", costs, workload).collect_ns, 10);
  EXPECT_DOUBLE_EQ(predict_cost("dirty-log", costs, workload).collect_ns, 1000);
}

TEST(TrackerChoice, PagesThatAreMissingAreBroughtInByWhatLooksAtThem) {
  const CostTable costs{"invented",
                        {{"dirty-log", {.first_write_ns = 50}},
                         {"pagemap-scan", {}},
                         {"protection", {}},
                         {"compare-hash", {}}}};
  TrackerWorkload workload{.memory_pages = 1000, .missing_pages = 1000, .dirty_pages = 10};
  EXPECT_EQ(best(costs, workload), "dirty-log");
  for (const char* name : {"pagemap-scan", "protection", "compare-hash"}) {
    EXPECT_GT(predict_cost(name, costs, workload).side_ns, 100'000) << name;
  }
  workload.backend_protects = true;  // Then protection has nothing to do with the host's mapping.
  EXPECT_EQ(predict_cost("protection", costs, workload).side_ns, 0);
  EXPECT_EQ(best(costs, workload), "protection");
}

TEST(TrackerChoice, ALiveCaptureBesideAUserfaultfdPaysForAFork) {
  const CostTable costs{"invented",
                        {{"dirty-log", {.first_write_ns = 20}},
                         {"pagemap-scan", {.first_write_ns = 10}},
                         {"fork", {.arm_page_ns = 5}}}};
  TrackerWorkload workload{.memory_pages = 1000, .resident_pages = 1000, .dirty_pages = 10};
  EXPECT_EQ(best(costs, workload), "pagemap-scan");
  workload.is_live = true;
  EXPECT_EQ(best(costs, workload), "dirty-log");
  EXPECT_DOUBLE_EQ(predict_cost("pagemap-scan", costs, workload).side_ns, 5000);
}

TEST(TrackerChoice, EqualCostsGoToTheFirstOfTheModels) {
  CostTable costs{"invented", {}};
  std::vector<std::string> expected;
  for (const TrackerModel& model : tracker_models()) {
    costs.trackers.insert(costs.trackers.begin(), {std::string(model.name), {}});
    if (model.objection.empty()) {
      expected.emplace_back(model.name);
    }
  }
  std::vector<Availability> trackers = all_available();
  std::reverse(trackers.begin(), trackers.end());  // Nor does their order matter.
  EXPECT_EQ(names_of(rank_trackers(trackers, costs, {}).best_first), expected);
}

TEST(TrackerChoice, NoiseOfTheFiguresDoesNotTurnTheChoice) {
  CostTable costs{"invented",
                  {{"dirty-log", {.arm_ns = 104}},
                   {"dirty-log-manual", {.arm_ns = 100}},
                   {"pagemap-scan", {.arm_ns = 106}}}};
  EXPECT_THAT(names_of(rank_trackers(all_available(), costs, {}).best_first),
              ElementsAre("dirty-log", "dirty-log-manual", "pagemap-scan"));
  costs.trackers.front().second.arm_ns = 107;
  EXPECT_THAT(names_of(rank_trackers(all_available(), costs, {}).best_first),
              ElementsAre("dirty-log-manual", "pagemap-scan", "dirty-log"));
}

TEST(TrackerChoice, WhatIsNotThereIsPassedOverWithItsReason) {
  std::vector<Availability> trackers = all_available();
  const auto log = std::find_if(trackers.begin(), trackers.end(),
                                [](const Availability& t) { return t.name == "dirty-log"; });
  ASSERT_NE(log, trackers.end());
  *log = {"dirty-log", false, "nobody logs here", ""};
  const TrackerRanking ranking = rank_trackers(
      trackers, two_trackers(), {.memory_pages = 100, .resident_pages = 100, .dirty_pages = 1});
  EXPECT_THAT(names_of(ranking.best_first), ElementsAre("compare-hash"));
  EXPECT_THAT(ranking.passed_over, Contains(Field(&RankedTracker::reason, "nobody logs here")));
  EXPECT_THAT(ranking.passed_over, Each(Field(&RankedTracker::reason, Not(""))));
}

TEST(TrackerChoice, NothingThatReportsUnwrittenPagesOrCopiesMemoryIsTaken) {
  CostTable costs = builtin_costs();
  for (const char* name : {"zero-scan", "residency", "soft-dirty", "fork", "compare"}) {
    std::erase_if(costs.trackers, [&](const auto& tracker) { return tracker.first == name; });
    costs.trackers.push_back({name, {}});  // For nothing.
  }
  const TrackerRanking ranking =
      rank_trackers(all_available(), costs,
                    {.memory_pages = 1000, .resident_pages = 1000, .dirty_pages = 500, .vcpus = 2});
  for (const char* name : {"zero-scan", "residency", "soft-dirty", "fork", "compare"}) {
    EXPECT_THAT(names_of(ranking.best_first), Not(Contains(name)));
    EXPECT_THAT(names_of(ranking.passed_over), Contains(name));
  }
}

TEST(TrackerChoice, AbsurdFiguresCountAsNone) {
  for (const double absurd : {-1.0, 1e30, std::numeric_limits<double>::infinity(), std::nan("")}) {
    CostTable costs = two_trackers();
    costs.trackers.front().second.first_write_ns = absurd;
    const TrackerRanking ranking = rank_trackers(all_available(), costs, {.dirty_pages = 1});
    EXPECT_THAT(names_of(ranking.best_first), ElementsAre("compare-hash")) << absurd;
    EXPECT_THAT(ranking.passed_over,
                Contains(Field(&RankedTracker::reason, HasSubstr("no usable figures"))))
        << absurd;
  }
}

TEST(TrackerChoice, ThereIsAlwaysOne) {
  EXPECT_EQ(rank_trackers({}, {}, {}).best_first.front().name, "compare-hash");
  EXPECT_EQ(rank_trackers(all_available(), {}, {}).best_first.front().name, "compare-hash");
}

TEST(TrackerChoice, TheBuiltInFiguresArePlausibleAndCoverWhatMayBeTaken) {
  for (const TrackerModel& model : tracker_models()) {
    EXPECT_NE(model.merit.empty(), model.objection.empty()) << model.name;
    if (model.objection.empty()) {
      EXPECT_NE(builtin_costs().find(model.name), nullptr) << model.name;
    }
  }
  EXPECT_NE(builtin_costs().find("fork"), nullptr) << "a live capture's";
  EXPECT_THAT(builtin_costs().source, HasSubstr("measured"));
}

TEST(TrackerChoice, TheBuiltInFiguresLogFewWritesAndCompareForMany) {
  TrackerWorkload workload{.memory_pages = 262144, .resident_pages = 262144, .dirty_pages = 2621};
  const std::string few = best(builtin_costs(), workload);
  EXPECT_TRUE(few.starts_with("dirty-log")) << few;
  workload.dirty_pages = workload.memory_pages;
  EXPECT_EQ(best(builtin_costs(), workload), "compare-hash");
}

TEST(TrackerChoice, WorkloadsAndCostsAreSaidInWords) {
  EXPECT_EQ(describe(TrackerWorkload{
                .memory_pages = 200, .resident_pages = 50, .dirty_pages = 2, .vcpus = 1}),
            "200 pages of memory (25 % resident), of which 2 are expected to be written, 1 vCPU");
  EXPECT_THAT(describe(TrackerWorkload{.missing_pages = 7, .vcpus = 3, .is_live = true}),
              HasSubstr("3 vCPUs, 7 pages missing until they are touched, saved while it runs"));
  EXPECT_EQ(describe(PredictedCost{.arm_ns = 20e3, .writes_ns = 7.5e6, .collect_ns = 80e3}),
            "7.6 ms (arming 20 us, first writes 7.5 ms, collecting 80 us)");
}

TEST(CostFit, FindsTheModelThatTheCornersWereMadeFrom) {
  const CostModel model{.arm_ns = 5000,
                        .arm_page_ns = 3,
                        .first_write_ns = 2500,
                        .collect_ns = 4000,
                        .collect_page_ns = 2,
                        .collect_dirty_ns = 40};
  const auto corner = [&](double memory, double dirty) {
    return CostSample{.memory_pages = memory,
                      .dirty_pages = dirty,
                      .arm_ns = model.arm_ns + model.arm_page_ns * memory,
                      .slowdown_ns = model.first_write_ns * dirty,
                      .collect_ns = model.collect_ns + model.collect_page_ns * memory +
                                    model.collect_dirty_ns * dirty};
  };
  const CostModel found =
      fit_costs(corner(1000, 10), corner(1000, 500), corner(4000, 10), corner(4000, 500));
  EXPECT_NEAR(found.arm_ns, model.arm_ns, 1e-6);
  EXPECT_NEAR(found.arm_page_ns, model.arm_page_ns, 1e-9);
  EXPECT_NEAR(found.first_write_ns, model.first_write_ns, 1e-9);
  EXPECT_NEAR(found.collect_ns, model.collect_ns, 1e-6);
  EXPECT_NEAR(found.collect_page_ns, model.collect_page_ns, 1e-9);
  EXPECT_NEAR(found.collect_dirty_ns, model.collect_dirty_ns, 1e-9);
}

TEST(CostFit, NoiseMakesNoCostNegative) {
  const CostSample small{.memory_pages = 1000, .dirty_pages = 10, .arm_ns = 900, .collect_ns = 90};
  const CostSample large{.memory_pages = 4000, .dirty_pages = 10, .arm_ns = 500, .collect_ns = 50};
  CostSample many = small;
  many.dirty_pages = 500;
  many.slowdown_ns = -1000;
  many.collect_ns = 20;
  CostSample large_many = many;
  large_many.memory_pages = 4000;
  EXPECT_TRUE(is_plausible(fit_costs(small, many, large, large_many)));
  EXPECT_TRUE(is_plausible(fit_costs(small, small, small, small))) << "nothing to divide by";
}

}  // namespace
}  // namespace stasis::snapshot
