#include "experiments/reset_loop/reset_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/experiments/checks_fixture.h"

namespace stasis::experiments::reset_loop {
namespace {

using Verdict = CheckOutcome::Verdict;

constexpr double kUs = 1e3;
constexpr std::uint64_t kMib = 272;

class ResetLoopChecks : public testing::Test {
 protected:
  ResetLoopChecks() : run_(reset_loop_definition(), full_workload("kvm")) {}
  void measure(std::uint64_t pages, const std::string& metric, double value) {
    run_.measure(reset_id("dirty-log", kMib, pages), metric, value);
  }
  InventedRun run_;
};

TEST_F(ResetLoopChecks, AResetIsHeldAgainstItsOwnFloor) {
  measure(256, "floor_ns", 100 * kUs);
  measure(256, "reset_ns", 125 * kUs);
  measure(256, "memory_ns", 110 * kUs);
  run_.expect("reset_vs_floor/dirty-log/256", Verdict::kPass, 1.25);
  run_.expect("memory_vs_floor/dirty-log/256", Verdict::kPass, 1.1);
  measure(256, "reset_ns", 140 * kUs);
  run_.expect("reset_vs_floor/dirty-log/256", Verdict::kFail, 1.4);
}

TEST_F(ResetLoopChecks, SlowResetsAreFewAndNotMuchSlower) {
  measure(16, "reset_ns", 100 * kUs);
  measure(16, "reset_p99_ns", 290 * kUs);
  run_.expect("tail/dirty-log/16", Verdict::kPass, 2.9);
  measure(16, "reset_p99_ns", 310 * kUs);
  run_.expect("tail/dirty-log/16", Verdict::kFail, 3.1);
}

TEST_F(ResetLoopChecks, APageThatIsNotPutBackFails) {
  Row& row = run_.row(reset_id("dirty-log", kMib, 256), 0);
  row.metrics["dirty_pages"] = 260;
  row.metrics["strayed_pages"] = 0;
  run_.expect("none_missed", Verdict::kPass, 0);
  run_.expect("no_page_strays", Verdict::kPass, 0);
  row.metrics["dirty_pages"] = 255;
  row.metrics["strayed_pages"] = 2;
  run_.expect("none_missed", Verdict::kFail, 1);
  run_.expect("no_page_strays", Verdict::kFail, 2);
}

TEST_F(ResetLoopChecks, AnotherAnswerAfterAResetFails) {
  run_.row(reset_id("dirty-log", kMib, 16), 0).proof = "hash=1";
  run_.row(reset_id("pagemap-scan", kMib, 256), 0).proof = "hash=2";  // Another request.
  EXPECT_EQ(run_.check("same_answers").verdict, Verdict::kPass);
  run_.row(reset_id("compare", kMib, 16), 0).proof = "hash=3";
  EXPECT_EQ(run_.check("same_answers").verdict, Verdict::kFail);
}

TEST_F(ResetLoopChecks, TimeIsLinearInPages) {
  for (const std::uint64_t pages : {1U, 16U, 256U, 4096U, 16384U, 65536U}) {
    measure(pages, "dirty_pages", static_cast<double>(pages));
    measure(pages, "reset_ns", (50 + 0.5 * static_cast<double>(pages)) * kUs);
  }
  run_.expect("linear/dirty-log", Verdict::kPass, 1);
}

// 256 pages of 272 MiB are less than a hundredth, 4096 are more.
TEST_F(ResetLoopChecks, WithLittleWrittenItBeatsACopyOfAllMemory) {
  measure(256, "full_copy_ns", 500 * kUs);
  measure(256, "reset_ns", 100 * kUs);
  measure(4096, "full_copy_ns", 500 * kUs);
  measure(4096, "reset_ns", 1000 * kUs);
  run_.expect("beats_full_copy/dirty-log", Verdict::kPass, 5);
  measure(256, "full_copy_ns", 300 * kUs);
  run_.expect("beats_full_copy/dirty-log", Verdict::kFail, 3);
}

}  // namespace
}  // namespace stasis::experiments::reset_loop
