// What trackers were found to cost on this host (session/calibration.h), in a file of the user's
// cache, with the facts for which it holds.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/capabilities.h"
#include "core/result.h"
#include "snapshot/trackers/cost_table.h"

namespace stasis::session {

inline constexpr int kCalibrationFormat = 1;

// Named facts; other ones mean other costs. Value.
using CalibrationFacts = std::vector<std::pair<std::string, std::string>>;
// The kernel, the processor, this build and the backend.
CalibrationFacts calibration_facts(const Capabilities& capabilities);

// $XDG_CACHE_HOME/stasis/trackers-BACKEND.json, or below $HOME/.cache; empty if neither is set to
// an absolute path.
std::string calibration_path(const Capabilities& capabilities);

// Replaces `path` wholly or not at all, and makes its directories. kIo names the path.
Result<void> write_calibration(const std::string& path, const snapshot::CostTable& costs,
                               const CalibrationFacts& facts);

// The costs with their source. Errors name the path, and the field where there is one: kNotFound,
// kIo, kCorruption (damaged, of another format, with absurd figures), kMismatch (other facts).
Result<snapshot::CostTable> read_calibration(const std::string& path,
                                             const CalibrationFacts& facts);

// What "auto" is to decide by on this host. Value.
struct KnownCosts {
  snapshot::CostTable costs = {};
  // Why they are not calibrated ones, which their source then says too; empty if they are.
  std::string not_calibrated_because = {};
};
// Never fails: there are always the built-in costs.
KnownCosts known_costs(const Capabilities& capabilities);

}  // namespace stasis::session
