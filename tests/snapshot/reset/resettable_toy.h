// A toy machine that was restored from a snapshot, or from the end of a chain, and can be reset to
// it; and what happens to it in between.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>

#include "snapshot/reset/resetter.h"
#include "snapshot/trackers/tracker_catalog.h"
#include "tests/snapshot/behaviour/saved_toy.h"

namespace stasis::snapshot::testing {

// Runs, and writes of the host: the same for the same seed. Value.
struct ToyRun {
  std::uint64_t instructions = 0;
  std::uint64_t seed = 0;
  std::uint32_t host_writes = 0;
};
ToyRun random_run(std::mt19937_64& random);
Result<void> apply(const ToyRun& run, const ToyConfig& config, Machine& machine);

// Saves a toy that has run for a while: a full snapshot, and with `differences` as many on it.
// Returns the path of the last.
Result<std::string> save_toy(const ToyConfig& config, const Format& format,
                             std::uint32_t differences, const TemporaryDirectory& directory);

// A restored machine with its tracker armed and its resetter made. Members in the order of their
// making.
struct ResettableToy {
  Restored restored;
  std::unique_ptr<DirtyTracker> tracker;
  std::unique_ptr<DirtyAccumulator> dirty;
  std::unique_ptr<Resetter> resetter;

  [[nodiscard]] Machine& machine() const { return *restored.machine; }
  [[nodiscard]] Observation observe() const {
    return testing::observe(*restored.machine, *restored.output);
  }
};
Result<ResettableToy> make_resettable(const std::string& path, HypervisorBackend& backend,
                                      std::string_view policy, const std::string& tracker,
                                      const TrackerOptions& options = {});

}  // namespace stasis::snapshot::testing
