// Snapshots of toy machines on disk, and machines restored from them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "snapshot/capture.h"
#include "snapshot/policies/policy_catalog.h"
#include "snapshot/restore/restorer.h"
#include "tests/snapshot/behaviour/toy_machine.h"

namespace stasis::snapshot::testing {

// Removed with everything in it when it goes.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] std::string path(const std::string& name) const;

 private:
  std::string path_;
};

// How a snapshot is stored. Value.
struct Format {
  Layout layout = Layout::kMappable;
  Codec codec = Codec::kNone;
  std::uint32_t chunk_bytes = 64U << 10U;
};

CaptureOptions capture_options(const Format& format, const SnapshotChain* parent = nullptr);

// Pages that some run might have touched.
void make_up_record(PlanInput& input);

// Opens, plans with a record that is made up, and restores; `options` as for restore(). The backend
// must outlive the machine.
struct Restored {
  std::unique_ptr<Machine> machine;
  OutputDevice* output = nullptr;
};
Result<Restored> restore_toy(const std::string& path, HypervisorBackend& backend,
                             std::string_view policy, const PolicyOptions& policy_options = {},
                             const RestoreOptions& options = {});

// All that a guest or its owner can observe of a paused machine. Value.
struct Observation {
  std::uint64_t memory_hash = 0;
  MachineState state;
  std::vector<std::uint64_t> output;
  friend bool operator==(const Observation&, const Observation&) = default;
};
Observation observe(Machine& machine, const OutputDevice& output);

}  // namespace stasis::snapshot::testing
