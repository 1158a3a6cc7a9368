// Every experiment of this project.
#pragma once

#include <span>
#include <string_view>

#include "core/result.h"
#include "experiments/harness/definition.h"

namespace stasis::experiments {

// In the order in which a newcomer should read them.
std::span<const Definition* const> all_experiments();
// kNotFound lists them, and names the one that was probably meant.
Result<const Definition*> find_experiment(std::string_view name);
// The checks of the experiment that a plan is of; none for one that does not exist any more.
std::vector<CheckOutcome> check_rows(const Plan& plan, const RowTable& table);

// The selection as an experiment gets it. kInvalidArgument for a name that does not exist (naming
// those that do, and the one that was probably meant) or a kind that the experiment does not take;
// kNotSupported, with the reason, for a tracker or policy that does not work here; kIo and
// kCorruption for a profile's file.
Result<Selection> settle_selection(const Definition& definition, const Selection& wanted,
                                   const Capabilities& capabilities);

}  // namespace stasis::experiments
