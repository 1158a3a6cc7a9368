// ws_characterize: what the profiles' guests touch and hold, measured: the closed loop of the
// generator, and the shapes of the papers' figures on working sets.
#pragma once

#include <string>
#include <vector>

#include "experiments/harness/definition.h"

namespace stasis::experiments {

const Definition& ws_characterize_definition();

namespace ws_characterize {

std::vector<CheckOutcome> check(const Plan& plan, const RowTable& table);
std::string cell_id(const std::string& profile);

}  // namespace ws_characterize
}  // namespace stasis::experiments
