// Memory that is saved twice in each pause: what a difference misses, the full snapshot shows.
#pragma once

#include <cstdint>
#include <string>

#include "snapshot/capture.h"
#include "snapshot/operations.h"
#include "tests/snapshot/memory_file_system.h"

namespace stasis::snapshot::testing {

class TwiceSaved {
 public:
  // Borrowed; paused at every call.
  explicit TwiceSaved(Machine& machine) : machine_(machine) {}

  MemoryFileSystem& files() { return files_; }
  // The snapshot that the next difference is of.
  [[nodiscard]] const std::string& parent() const { return parent_; }

  Result<void> save_parent();
  // A difference and a full snapshot, compared. The full one is the parent of the next difference.
  Result<CompletenessReport> save_twice(DirtyAccumulator& dirty);

  [[nodiscard]] static CaptureOptions options(const SnapshotChain* parent);

 private:
  Machine& machine_;
  MemoryFileSystem files_;
  std::string parent_ = "/parent";
  std::uint32_t count_ = 0;
};

// How many epochs a case runs: STASIS_COMPLETENESS_EPOCHS, for more than a quick look, or `few`.
std::uint32_t completeness_epochs(std::uint32_t few);

}  // namespace stasis::snapshot::testing
