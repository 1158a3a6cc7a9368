#include "experiments/dirty_tracking/dirty_tracking.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/experiments/checks_fixture.h"

namespace stasis::experiments::dirty_tracking {
namespace {

using Verdict = CheckOutcome::Verdict;

constexpr double kUs = 1e3;
constexpr std::uint64_t kMib = 272;
constexpr std::uint64_t kMost = 65536;

class DirtyTrackingChecks : public testing::Test {
 protected:
  DirtyTrackingChecks() : run_(dirty_tracking_definition(), full_workload("kvm")) {}
  void found(const std::string& tracker, double pages, double found_pages, double refound_pages) {
    Row& row = run_.row(tracked_id(tracker, kMib, kMost), 0);
    row.metrics["pages"] = pages;
    row.metrics["found_pages"] = found_pages;
    row.metrics["refound_pages"] = refound_pages;
  }
  InventedRun run_;
};

TEST_F(DirtyTrackingChecks, APageThatATrackerMissesInEitherEpochFails) {
  found("compare", 100, 103, 103);
  run_.expect("none_missed", Verdict::kPass, 0);
  found("dirty-log", 100, 100, 99);
  run_.expect("none_missed", Verdict::kFail, 1);
  EXPECT_THAT(run_.check("none_missed").figures, testing::HasSubstr("track/dirty-log/"));
}

TEST_F(DirtyTrackingChecks, ExactTrackersMayReportOnlyWhatTheGuestWroteForItself) {
  found("compare", 100, 164, 100);
  found("zero-scan", 100, 60000, 60000);  // Promises nothing.
  run_.expect("exact", Verdict::kPass, 64);
  found("compare", 100, 165, 100);
  run_.expect("exact", Verdict::kFail, 65);
}

TEST_F(DirtyTrackingChecks, AnEpochIsHeldAgainstTheMechanismAlone) {
  run_.measure(tracked_id("dirty-log", kMib, kMost), "epoch_ns", 140 * kUs);
  run_.measure(raw_id("dirty-log", kMib, kMost), "epoch_ns", 100 * kUs);
  run_.expect("vs_raw/dirty-log", Verdict::kPass, 1.4);
  run_.measure(tracked_id("dirty-log", kMib, kMost), "epoch_ns", 160 * kUs);
  run_.expect("vs_raw/dirty-log", Verdict::kFail, 1.6);
}

TEST_F(DirtyTrackingChecks, AutoIsHeldAgainstTheBestThatReportsWritesAlone) {
  EXPECT_EQ(run_.check("auto_is_near_the_best").verdict, Verdict::kNotApplicable);
  run_.measure(tracked_id("dirty-log", kMib, 1), "whole_ns", 100 * kUs);
  run_.measure(tracked_id("compare", kMib, 1), "whole_ns", 500 * kUs);
  run_.measure(tracked_id("zero-scan", kMib, 1), "whole_ns", 10 * kUs);  // Reports what it likes.
  run_.measure(tracked_id("none", kMib, 1), "whole_ns", 1 * kUs);
  run_.measure(tracked_id("auto", kMib, 1), "whole_ns", 110 * kUs);
  run_.expect("auto_is_near_the_best", Verdict::kPass, 1.1);
  run_.measure(tracked_id("compare", kMib, kMost), "whole_ns", 100 * kUs);
  run_.measure(tracked_id("auto", kMib, kMost), "whole_ns", 120 * kUs);
  run_.expect("auto_is_near_the_best", Verdict::kFail, 1.2);
  EXPECT_THAT(run_.check("auto_is_near_the_best").figures, testing::HasSubstr("track/compare/"));
}

TEST_F(DirtyTrackingChecks, CollectingARingIsLinearInWhatItHolds) {
  for (const std::uint64_t pages : {1U, 16U, 256U, 4096U, 16384U, 65536U}) {
    run_.measure(tracked_id("dirty-ring", kMib, pages), "pages", static_cast<double>(pages));
    run_.measure(tracked_id("dirty-ring", kMib, pages), "recollect_ns",
                 (5 + 0.2 * static_cast<double>(pages)) * kUs);
  }
  run_.expect("collects_dirty/dirty-ring", Verdict::kPass, 1);
}

TEST_F(DirtyTrackingChecks, CollectingABitmapTakesLongerOfMoreMemory) {
  run_.measure(tracked_id("dirty-log", kMib, 1), "recollect_ns", 10 * kUs);
  run_.measure(tracked_id("dirty-log", 1088, 1), "recollect_ns", 35 * kUs);
  run_.expect("collects_memory/dirty-log", Verdict::kPass, 3.5);
  run_.measure(tracked_id("dirty-log", 1088, 1), "recollect_ns", 12 * kUs);
  run_.expect("collects_memory/dirty-log", Verdict::kFail, 1.2);
}

}  // namespace
}  // namespace stasis::experiments::dirty_tracking
