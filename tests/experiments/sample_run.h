// Invented runs in directories, for what reads runs.
#pragma once

#include <fstream>
#include <functional>
#include <string>

#include "experiments/harness/plan.h"
#include "experiments/harness/row.h"
#include "experiments/harness/text_file.h"

namespace stasis::experiments {

inline Plan sample_plan() {
  Plan plan;
  plan.experiment = "full_vs_diff";
  plan.backend = "kvm";
  plan.scale = "full";
  plan.trials = 10;
  plan.warmup_blocks = 0;
  plan.cells = {{.id = "save/full",
                 .factors = {{"kind", "save"}},
                 .headline = "save_ns",
                 .floor_cell = {},
                 .floor_metric = {}},
                {.id = "save/diff/compare/dirty10",
                 .factors = {{"kind", "save"}, {"tracker", "compare"}, {"dirty", "10 %"}},
                 .headline = "save_ns",
                 .floor_cell = {},
                 .floor_metric = {}}};
  return plan;
}

// Writes plan.json and rows.jsonl with a row for each cell and block; `fill` gives the row what it
// measures.
inline void write_run(const std::string& directory, const Plan& plan,
                      const std::function<void(Row& row)>& fill, const HostFacts& host = {}) {
  (void)write_text_file(directory + "/plan.json", to_json_text(plan));
  std::ofstream rows(directory + "/rows.jsonl");
  for (std::uint32_t block = 0; block < plan.trials; ++block) {
    for (const Cell& cell : plan.cells) {
      Row row;
      row.experiment = plan.experiment;
      row.plan = plan_id(plan);
      row.backend = plan.backend;
      row.cell = cell.id;
      row.factors = cell.factors;
      row.block = block;
      row.quotable = true;
      fill(row);
      rows << to_json_line(row, host);
    }
  }
}

}  // namespace stasis::experiments
