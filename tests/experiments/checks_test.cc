#include "experiments/restore_latency/checks.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/catalog.h"

namespace stasis::experiments {
namespace {

using Verdict = CheckOutcome::Verdict;

constexpr double kMs = 1e6;
constexpr double kMiB = 1024.0 * 1024.0;

// A full run on KVM whose rows the tests invent.
class Checks : public testing::Test {
 protected:
  Checks() {
    const Workload workload = full_workload("kvm");
    sizes_ = workload.sizes;
    plan_.experiment = "restore_latency";
    plan_.backend = "kvm";
    plan_.scale = "full";
    for (const PlannedCell& planned : restore_latency_experiment(workload).cells) {
      plan_.cells.push_back(planned.cell);
    }
  }
  // Ten blocks whose values are `value` times 1 - spread to 1 + spread, by turns.
  void measure_noisy(const std::string& cell, const std::string& metric, double value,
                     double spread) {
    for (std::uint32_t block = 0; block < 10; ++block) {
      row(cell, block).metrics[metric] = value * (1 + spread * ((block * 7 % 10) / 4.5 - 1));
    }
  }
  // Ten blocks around `value`, with a drift that all cells share.
  void measure(const std::string& cell, const std::string& metric, double value) {
    for (std::uint32_t block = 0; block < 10; ++block) {
      row(cell, block).metrics[metric] = value * (1 + 0.1 * block);
    }
  }
  Row& row(const std::string& cell, std::uint32_t block) {
    for (Row& row : rows_) {
      if (row.cell == cell && row.block == block) {
        return row;
      }
    }
    Row row;
    row.plan = plan_id(plan_);
    row.cell = cell;
    row.block = block;
    for (const Cell& planned : plan_.cells) {
      if (planned.id == cell) {
        row.factors = planned.factors;
      }
    }
    EXPECT_TRUE(std::any_of(plan_.cells.begin(), plan_.cells.end(),
                            [&](const Cell& planned) { return planned.id == cell; }))
        << "the plan has no cell " << cell;
    rows_.push_back(row);
    return rows_.back();
  }
  CheckOutcome check(const std::string& name) {
    for (CheckOutcome& outcome : evaluate_checks(plan_, RowTable(plan_, rows_))) {
      if (outcome.name == name) {
        return outcome;
      }
    }
    ADD_FAILURE() << "no check " << name;
    return {};
  }
  void expect(const std::string& name, Verdict verdict, double value) {
    const CheckOutcome outcome = check(name);
    EXPECT_EQ(outcome.verdict, verdict) << name << ": " << outcome.figures;
    EXPECT_NEAR(outcome.value, value, 1e-6 + 1e-3 * value) << name;
  }

  Plan plan_;
  Sizes sizes_;
  std::vector<Row> rows_;
};

TEST_F(Checks, WithoutRowsNothingIsJudgedAndTheMissingCellIsNamed) {
  for (const CheckOutcome& outcome : evaluate_checks(plan_, RowTable(plan_, rows_))) {
    EXPECT_EQ(outcome.verdict, Verdict::kNotApplicable) << outcome.name;
    EXPECT_FALSE(outcome.figures.empty()) << outcome.name;
    EXPECT_FALSE(outcome.requirement.empty()) << outcome.name;
  }
  EXPECT_THAT(check("lazy_vs_bare_kvm").figures, testing::HasSubstr(lazy_id(sizes_.middle_mib)));
}

TEST_F(Checks, LazyRestoreIsHeldAgainstBareKvm) {
  measure(bare_kvm_id(1024), "first_instruction_ns", 1.0 * kMs);
  measure(lazy_id(1024), "first_instruction_ns", 1.29 * kMs);
  expect("lazy_vs_bare_kvm", Verdict::kPass, 1.29);
  rows_.clear();
  measure(bare_kvm_id(1024), "first_instruction_ns", 1.0 * kMs);
  measure(lazy_id(1024), "first_instruction_ns", 1.31 * kMs);
  expect("lazy_vs_bare_kvm", Verdict::kFail, 1.31);
}

TEST_F(Checks, AVerdictWhoseIntervalContainsTheLimitIsWithinNoise) {
  struct Case {
    double ratio, spread;
    Verdict verdict;
    const char* text;
  };
  for (const Case& wanted : {Case{1.2, 0.02, Verdict::kPass, "pass"},
                             Case{1.29, 0.1, Verdict::kPass, "pass, within noise"},
                             Case{1.32, 0.1, Verdict::kFail, "FAIL, within noise"},
                             Case{1.4, 0.02, Verdict::kFail, "FAIL"}}) {
    SCOPED_TRACE(wanted.text);
    measure_noisy(bare_kvm_id(1024), "first_instruction_ns", 1.0 * kMs, 0);
    measure_noisy(lazy_id(1024), "first_instruction_ns", wanted.ratio * kMs, wanted.spread);
    const CheckOutcome outcome = check("lazy_vs_bare_kvm");
    EXPECT_EQ(outcome.verdict, wanted.verdict) << outcome.value;
    EXPECT_EQ(outcome.within_noise, outcome.low <= 1.3 && 1.3 <= outcome.high);
    EXPECT_EQ(verdict_text(outcome), wanted.text) << outcome.low << " to " << outcome.high;
  }
}

TEST_F(Checks, OnePairHasNoIntervalAndIsWithinNoise) {
  row(bare_kvm_id(1024), 0).metrics["first_instruction_ns"] = 1.0 * kMs;
  row(lazy_id(1024), 0).metrics["first_instruction_ns"] = 1.0 * kMs;
  EXPECT_EQ(verdict_text(check("lazy_vs_bare_kvm")), "pass, within noise");
}

TEST_F(Checks, CountsAndMaximaAreNeverWithinNoise) {
  row(lazy_id(256), 0).proof = "hash=1";  // No group disagrees: the count is at its limit.
  row(lazy_id(256), 0).metrics["peak_above_guest_bytes"] = 64 * kMiB;
  EXPECT_EQ(verdict_text(check("same_answers")), "pass");
  EXPECT_EQ(verdict_text(check("restore_memory")), "pass");
}

TEST_F(Checks, LazyRestoreOfALargeGuestIsHeldAgainstASmallOne) {
  measure(lazy_id(256), "first_instruction_ns", 1.0 * kMs);
  measure(lazy_id(4096), "first_instruction_ns", 1.1 * kMs);
  expect("lazy_is_flat", Verdict::kPass, 1.1);
  measure(lazy_id(4096), "first_instruction_ns", 1.5 * kMs);
  expect("lazy_is_flat", Verdict::kFail, 1.5);
}

TEST_F(Checks, EagerRestoreIsHeldAgainstPreadForOneAndTwoThreads) {
  measure(pread_floor_id(sizes_), "pread_ns", 40 * kMs);
  measure(eager_id(sizes_, 1, true), "first_instruction_ns", 60 * kMs);
  measure(eager_id(sizes_, 2, true), "first_instruction_ns", 40 * kMs);
  expect("eager_vs_pread_t1", Verdict::kFail, 1.5);
  expect("eager_vs_pread_t2", Verdict::kPass, 1.0);
}

TEST_F(Checks, Lz4SpeedIsTheLibrarysTimeOverOurs) {
  measure(lz4_floor_id(sizes_), "decompress_ns", 80 * kMs);
  measure(eager_lz4_id(sizes_, 2, true), "first_instruction_ns", 40 * kMs);
  expect("lz4_two_threads", Verdict::kPass, 2.0);
  measure(eager_lz4_id(sizes_, 2, true), "first_instruction_ns", 60 * kMs);
  expect("lz4_two_threads", Verdict::kFail, 80.0 / 60.0);
}

TEST_F(Checks, IntegrityMayCostFivePercent) {
  measure(eager_id(sizes_, 1, false), "first_instruction_ns", 100 * kMs);
  measure(eager_id(sizes_, 1, true), "first_instruction_ns", 104 * kMs);
  expect("integrity_cost", Verdict::kPass, 1.04);
  measure(eager_id(sizes_, 1, true), "first_instruction_ns", 106 * kMs);
  expect("integrity_cost", Verdict::kFail, 1.06);
}

TEST_F(Checks, ASaveMustReachSeventyPercentOfTheSlowerFloor) {
  measure(save_floor_id(sizes_), "slower_ns", 70 * kMs);
  measure(save_full_id(sizes_, 2, false), "save_ns", 100 * kMs);
  expect("save_speed", Verdict::kPass, 0.7);
  measure(save_full_id(sizes_, 2, false), "save_ns", 110 * kMs);
  expect("save_speed", Verdict::kFail, 70.0 / 110.0);
}

TEST_F(Checks, DifferentialSavesMustCostInProportion) {
  for (const std::uint32_t percent : kDirtyPercents) {
    const std::string id = save_diff_id(sizes_, percent, Spread::kClustered);
    measure(id, "dirty_bytes", percent * 2.5 * kMiB);
    measure(id, "save_ns", (3 + 0.4 * percent) * kMs);
  }
  expect("diff_linear", Verdict::kPass, 1.0);
  // As dear for one page as for all: the slope is gone.
  for (const std::uint32_t percent : kDirtyPercents) {
    measure(save_diff_id(sizes_, percent, Spread::kClustered), "save_ns",
            (percent % 2 == 0 ? 40.0 : 44.0) * kMs);
  }
  EXPECT_EQ(check("diff_linear").verdict, Verdict::kFail);
}

TEST_F(Checks, DifferentialSavesMayWriteTwoPercentMoreThanIsDirty) {
  const std::string id = save_diff_id(sizes_, 10, Spread::kScattered);
  measure(id, "dirty_bytes", 100 * kMiB);
  measure(id, "written_bytes", 101 * kMiB);
  expect("diff_bytes", Verdict::kPass, 0.01);
  row(id, 3).metrics["written_bytes"] = 200 * kMiB;  // One row is enough: 130 MiB were dirty.
  expect("diff_bytes", Verdict::kFail, 200.0 / 130.0 - 1);
}

TEST_F(Checks, MemoryIsJudgedByTheWorstTrial) {
  measure(eager_id(sizes_, 1, true), "peak_above_guest_bytes", 10 * kMiB);
  expect("restore_memory", Verdict::kPass, 19);
  row(lazy_id(256), 0).metrics["peak_above_guest_bytes"] = 65 * kMiB;
  expect("restore_memory", Verdict::kFail, 65);
  EXPECT_THAT(check("restore_memory").figures, testing::HasSubstr(lazy_id(256)));
  measure(save_full_id(sizes_, 1, false), "save_extra_rss_bytes", 20 * kMiB);
  expect("save_memory", Verdict::kPass, 38);
}

TEST_F(Checks, RestoresOfTheSameMemoryMustAnswerTheSame) {
  row(eager_id(sizes_, 1, true), 0).proof = "hash=1";
  row(eager_lz4_id(sizes_, 2, false), 0).proof = "hash=1";
  row(lazy_id(256), 0).proof = "hash=1";
  row(lazy_id(1024), 0).proof = "hash=2";  // Another memory: may differ.
  expect("same_answers", Verdict::kPass, 0);
  row(lazy_id(256), 1).proof = "hash=3";
  expect("same_answers", Verdict::kFail, 1);
}

TEST_F(Checks, OtherExperimentsHaveNone) {
  plan_.experiment = "floor";
  EXPECT_TRUE(check_rows(plan_, RowTable(plan_, rows_)).empty());
}

}  // namespace
}  // namespace stasis::experiments
