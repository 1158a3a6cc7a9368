// What a run is going to measure: its cells and how often. Written to DIRECTORY/plan.json, so that
// a run can be continued and its rows explained without the program that made them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"

namespace stasis::experiments {

using Factors = std::vector<std::pair<std::string, std::string>>;

// One combination of factors that is measured. Value.
struct Cell {
  std::string id;        // Unique in the plan: "restore/lazy/1024M/touch1/warm".
  Factors factors;       // "policy" -> "lazy": the levels, for tables and plots.
  std::string headline;  // The metric that tables show: "first_instruction_ns".
  // Another cell of the plan and a metric of it: the physical floor of the headline. Both empty
  // where there is none.
  std::string floor_cell, floor_metric;
  friend bool operator==(const Cell&, const Cell&) = default;
};

// Value.
struct Plan {
  std::string experiment;
  std::string backend;
  std::string scale;  // "full" or "quick".
  std::uint64_t seed = 1;
  std::uint32_t trials = 30;  // That count; of each cell.
  std::uint32_t warmup_blocks = 3;
  // What else must be equal for rows to be comparable: commit, build type, kernel.
  Factors identity;
  std::vector<Cell> cells;
  friend bool operator==(const Plan&, const Plan&) = default;
};

std::string to_json_text(const Plan& plan);
Result<Plan> plan_from_json(std::string_view text, const std::string& path);

// 16 hexadecimal digits that change with anything that makes rows incomparable. The number of
// trials does not: a run may be extended.
std::string plan_id(const Plan& plan);

}  // namespace stasis::experiments
