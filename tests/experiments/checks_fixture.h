// Plans with invented rows, for the tests of checks.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "experiments/catalog.h"

namespace stasis::experiments {

// The rows of an experiment on a host on which everything works.
class InventedRun {
 public:
  InventedRun(const Definition& definition, const Workload& workload) : definition_(definition) {
    Design design{.workload = workload, .capabilities = {}, .selection = {}};
    design.capabilities.kind = BackendKind::kKvm;
    design.capabilities.dirty_page_tracking = true;
    design.capabilities.dirty_ring = {"dirty-ring", true, "", ""};
    design.capabilities.dirty_ring_entries_max = 65536;
    auto experiment = definition.design(design);
    EXPECT_TRUE(experiment) << experiment.error().to_string();
    plan_.experiment = definition.name;
    plan_.backend = workload.backend;
    plan_.scale = workload.is_quick ? "quick" : "full";
    for (const PlannedCell& planned : experiment->cells) {
      plan_.cells.push_back(planned.cell);
    }
  }

  [[nodiscard]] const Plan& plan() const { return plan_; }

  // The row of a cell of the plan; made if it is not there.
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
    const auto planned = std::find_if(plan_.cells.begin(), plan_.cells.end(),
                                      [&](const Cell& each) { return each.id == cell; });
    EXPECT_NE(planned, plan_.cells.end()) << "the plan has no cell " << cell;
    if (planned != plan_.cells.end()) {
      row.factors = planned->factors;
    }
    rows_.push_back(row);
    return rows_.back();
  }
  // Ten blocks around `value`, with a drift that all cells share.
  void measure(const std::string& cell, const std::string& metric, double value) {
    for (std::uint32_t block = 0; block < 10; ++block) {
      row(cell, block).metrics[metric] = value * (1 + 0.1 * block);
    }
  }
  CheckOutcome check(const std::string& name) const {
    for (CheckOutcome& outcome : definition_.check(plan_, RowTable(plan_, rows_))) {
      if (outcome.name == name) {
        return outcome;
      }
    }
    ADD_FAILURE() << "no check " << name;
    return {};
  }
  void expect(const std::string& name, CheckOutcome::Verdict verdict, double value) const {
    const CheckOutcome outcome = check(name);
    EXPECT_EQ(outcome.verdict, verdict) << name << ": " << outcome.figures;
    EXPECT_NEAR(outcome.value, value, 1e-6 + 1e-3 * value) << name << ": " << outcome.figures;
  }

 private:
  const Definition& definition_;
  Plan plan_;
  std::vector<Row> rows_;
};

}  // namespace stasis::experiments
