// full_vs_diff: what a differential snapshot saves of time and bytes against a full one, by the
// share of dirty pages and by the tracker that finds them, and what a chain of them costs at the
// restore.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/harness/definition.h"

namespace stasis::experiments {

const Definition& full_vs_diff_definition();

namespace full_vs_diff {

std::vector<CheckOutcome> check(const Plan& plan, const RowTable& table);

// The ids of cells that checks refer to.
std::string full_id();
std::string diff_id(const std::string& tracker, std::uint32_t percent);
std::string chain_id(const std::string& policy, std::uint32_t depth);  // 0: a full snapshot.

// Of a guest's pages, what each layer of a chain changes.
inline constexpr std::uint32_t kLayerPercent = 2;

}  // namespace full_vs_diff
}  // namespace stasis::experiments
