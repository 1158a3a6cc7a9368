// policy_matrix: every restore policy with every profile: how long until a function has answered.
#pragma once

#include <string>
#include <vector>

#include "experiments/harness/definition.h"

namespace stasis::experiments {

const Definition& policy_matrix_definition();

namespace policy_matrix {

std::vector<CheckOutcome> check(const Plan& plan, const RowTable& table);
std::string cell_id(const std::string& policy, const std::string& profile, CacheState cache);

// What the others are held against: the page cache cold, and warm.
inline constexpr const char* kBaseline = "lazy";

}  // namespace policy_matrix
}  // namespace stasis::experiments
