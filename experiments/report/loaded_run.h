// A run's directory as it was read.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "experiments/harness/host_facts.h"
#include "experiments/harness/summary.h"

namespace stasis::experiments {

// Value.
struct LoadedRun {
  std::string directory;
  Plan plan;
  HostFacts host;
  std::vector<Row> rows;  // As in the file: warm-ups and failed ones, too.

  [[nodiscard]] RowTable table() const { return {plan, rows}; }
};

// kNotFound or kIo for a directory that holds no run; kCorruption, naming file and line, for one
// that was written half or by hand; kMismatch for one of another schema. A last line without its
// newline is what an interruption left of a row, and is ignored.
Result<LoadedRun> load_run(const std::string& directory);

}  // namespace stasis::experiments
