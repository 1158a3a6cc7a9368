#include "experiments/full_vs_diff/full_vs_diff.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/experiments/checks_fixture.h"

namespace stasis::experiments::full_vs_diff {
namespace {

using Verdict = CheckOutcome::Verdict;

constexpr double kMs = 1e6;
constexpr double kMiB = 1024.0 * 1024.0;

class FullVsDiffChecks : public testing::Test {
 protected:
  FullVsDiffChecks() : run_(full_vs_diff_definition(), full_workload("kvm")) {
    // The tracker that all shares are measured with depends on the host.
    for (const Cell& cell : run_.plan().cells) {
      if (cell.id.ends_with("/dirty75")) {
        main_ = cell.id.substr(10, cell.id.size() - 10 - 8);
      }
    }
    EXPECT_FALSE(main_.empty());
  }
  static constexpr std::uint32_t kShares[] = {1, 2, 5, 10, 25, 50, 75, 100};

  InventedRun run_;
  std::string main_;
};

TEST_F(FullVsDiffChecks, TimeMustBeLinearInDirtyBytes) {
  for (const std::uint32_t share : kShares) {
    run_.measure(diff_id(main_, share), "dirty_bytes", share * 2.5 * kMiB);
    run_.measure(diff_id(main_, share), "save_ns", (3 + 0.4 * share) * kMs);
  }
  run_.expect("linear/" + main_, Verdict::kPass, 1);
  for (const std::uint32_t share : kShares) {
    run_.measure(diff_id(main_, share), "save_ns", (share % 2 == 0 ? 40.0 : 44.0) * kMs);
  }
  EXPECT_EQ(run_.check("linear/" + main_).verdict, Verdict::kFail);
}

TEST_F(FullVsDiffChecks, TheCrossoverIsInterpolatedBetweenTheSharesAroundIt) {
  run_.measure(full_id(), "save_ns", 100 * kMs);
  for (const std::uint32_t share : kShares) {
    run_.measure(diff_id(main_, share), "save_ns", (20 + 1.0 * share) * kMs);  // 100 ms at 80 %.
  }
  run_.expect("crossover/" + main_, Verdict::kPass, 80);
  for (const std::uint32_t share : kShares) {
    run_.measure(diff_id(main_, share), "save_ns", (90 + 1.0 * share) * kMs);  // At 10 %.
  }
  run_.expect("crossover/" + main_, Verdict::kFail, 10);
}

TEST_F(FullVsDiffChecks, WithoutACrossoverTheLargestShareIsReported) {
  run_.measure(full_id(), "save_ns", 500 * kMs);
  for (const std::uint32_t share : kShares) {
    run_.measure(diff_id(main_, share), "save_ns", (20 + 1.0 * share) * kMs);
  }
  run_.expect("crossover/" + main_, Verdict::kPass, 100);
  EXPECT_THAT(run_.check("crossover/" + main_).figures, testing::HasSubstr("no crossover"));
}

TEST_F(FullVsDiffChecks, BytesMayExceedTheDirtyOnesByTwoPercent) {
  run_.measure(diff_id("compare", 10), "dirty_bytes", 100 * kMiB);
  run_.measure(diff_id("compare", 10), "written_bytes", 101 * kMiB);
  run_.expect("bytes", Verdict::kPass, 0.01);
  run_.row(diff_id("compare", 1), 0).metrics = {{"dirty_bytes", 1000}, {"written_bytes", 9000}};
  run_.expect("bytes", Verdict::kPass, 0.01);  // Too small to count.
  run_.row(diff_id("compare", 10), 3).metrics["written_bytes"] = 200 * kMiB;
  run_.expect("bytes", Verdict::kFail, 200.0 / 130.0 - 1);
}

TEST_F(FullVsDiffChecks, ExactTrackersMustAgreeAndOthersNeedNot) {
  run_.row(diff_id("compare", 10), 0).metrics["dirty_bytes"] = 100 * kMiB;
  run_.row(diff_id("compare-hash", 10), 0).metrics["dirty_bytes"] = 100.5 * kMiB;
  run_.row(diff_id("zero-scan", 10), 0).metrics["dirty_bytes"] = 250 * kMiB;
  run_.expect("trackers_agree", Verdict::kPass, 0.005);
  run_.row(diff_id("compare-hash", 10), 0).metrics["dirty_bytes"] = 80 * kMiB;
  run_.expect("trackers_agree", Verdict::kFail, 0.25);
}

TEST_F(FullVsDiffChecks, ChainsMayNotGrowFasterThanTheirDepth) {
  run_.measure(chain_id("eager", 0), "first_response_ns", 100 * kMs);
  run_.measure(chain_id("eager", 4), "first_response_ns", 125 * kMs);
  run_.measure(chain_id("eager", 8), "first_response_ns", 150 * kMs);
  run_.measure(chain_id("eager", 16), "first_response_ns", 350 * kMs);
  run_.expect("chain_small/eager", Verdict::kPass, 1.25);
  run_.expect("chain_growth/eager", Verdict::kFail, 350.0 / 150);
  run_.measure(chain_id("eager", 16), "first_response_ns", 210 * kMs);
  run_.expect("chain_growth/eager", Verdict::kPass, 1.4);
}

TEST_F(FullVsDiffChecks, PoliciesMustRestoreTheSameMemory) {
  run_.row(chain_id("eager", 8), 0).proof = "hash=1";
  run_.row(chain_id("lazy", 8), 0).proof = "hash=1";
  run_.row(chain_id("lazy", 16), 0).proof = "hash=2";  // Another snapshot.
  run_.expect("same_answers", Verdict::kPass, 0);
  run_.row(chain_id("lazy", 8), 1).proof = "hash=3";
  run_.expect("same_answers", Verdict::kFail, 1);
}

}  // namespace
}  // namespace stasis::experiments::full_vs_diff
