// A part of an experiment: for a closer look at few cells, with more trials than the whole allows.
#pragma once

#include <span>
#include <string>

#include "core/result.h"
#include "experiments/harness/driver.h"

namespace stasis::experiments {

// The cells whose name contains one of `wanted`, with the floors that they are held against, and
// the preparations that these need; all of them if `wanted` is empty. kInvalidArgument, with names
// that would do, if one of `wanted` is in no cell's name. Pure.
Result<Experiment> only_cells(Experiment experiment, std::span<const std::string> wanted);

}  // namespace stasis::experiments
