// Runs the trials of a plan: sets and verifies the page cache, backs free memory, starts a fresh
// process a trial, judges the noise, writes the row.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "experiments/harness/page_cache.h"
#include "experiments/harness/plan.h"
#include "experiments/harness/schedule.h"
#include "experiments/harness/trial.h"

namespace stasis::experiments {

// "@/" at the beginning of a trial's parameter stands for the scratch directory: plans do not
// depend on where they run.
inline constexpr const char* kScratchPrefix = "@/";

// A cell and how a trial of it is made. Value.
struct PlannedCell {
  Cell cell;
  TrialRequest trial;
  // Directories below the scratch directory whose files are brought into `cache` before each
  // trial: a snapshot and its parents.
  std::vector<std::string> cached_directories = {};
  std::optional<CacheState> cache = {};
  // How much memory, page cache of what it writes included, a trial takes at the most: backed
  // before it (harness/free_memory.h).
  std::uint64_t fresh_bytes = std::uint64_t{64} << 20U;
};

// A step that makes what trials need, once before them: a snapshot. Value.
struct Preparation {
  std::string what;     // For progress and messages: "a full snapshot of 1024M".
  std::string product;  // A path below the scratch directory; made if it is absent.
  TrialRequest trial;
};

// Value.
struct Experiment {
  std::string name;
  std::vector<Preparation> preparations;  // In this order.
  std::vector<PlannedCell> cells;
};

struct DriverOptions {
  std::string directory;
  std::string scratch;  // Exists; the caller removes it.
  std::string trial_program;
  std::FILE* progress = nullptr;
  const std::atomic<bool>* cancel = nullptr;
  bool quotable = false;  // Written to each row.
};

struct DriverOutcome {
  bool interrupted = false;
};

// `plan` holds the experiment's cells. Failed trials become rows; a failed preparation is an error.
Result<DriverOutcome> drive(const Experiment& experiment, const Plan& plan,
                            const DriverOptions& options);

// About how long preparations and trials will take, from the memory that they use: said before the
// first of them, when nothing has been measured yet. Within a factor of three on a host with a
// local disk. Pure.
std::int64_t estimate_ns(const Experiment& experiment, std::span<const TrialSlot> open);

// The request as the process gets it.
TrialRequest with_scratch(const TrialRequest& request, const std::string& scratch);

}  // namespace stasis::experiments
