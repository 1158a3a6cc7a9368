// Resetter: a machine that has run becomes its snapshot again, in place: what was written since
// gets its bytes back, and vCPUs and devices their states. Much cheaper than another restore where
// little was written, and the VM, its threads and its memory stay.
#pragma once

#include <cstdint>
#include <memory>

#include "core/machine.h"
#include "core/result.h"
#include "snapshot/capture.h"
#include "snapshot/snapshot_chain.h"

namespace stasis::snapshot {

// What a reset did. Value.
struct ResetReport {
  std::uint64_t dirty_bytes = 0;   // That the tracker named; all of them, and no others, were
  std::uint64_t copied_bytes = 0;  // either copied
  std::uint64_t zeroed_bytes = 0;  // or overwritten with zeros.
  std::uint64_t read_bytes = 0;    // From the snapshot, because no earlier reset had needed them.
  std::int64_t state_ns = 0;       // Loading the states of vCPUs and devices.
  std::int64_t collect_ns = 0;     // Asking the tracker, which is armed again with it.
  std::int64_t read_ns = 0;
  std::int64_t copy_ns = 0;  // Overwriting, and what it takes that the tracker overlooks it.
  std::int64_t total_ns = 0;
  friend bool operator==(const ResetReport&, const ResetReport&) = default;
};

// Not thread-safe: the owner of the Machine calls it.
class Resetter {
 public:
  // `dirty`, armed, counts from a moment when the machine was what `chain` holds: right after its
  // restore, or its save. Machine and accumulator are borrowed; the chain is shared, and its files
  // stay open, so that they may be removed or replaced meanwhile. kMismatch if memory or the number
  // of vCPUs differ; errors of reading an index.
  static Result<std::unique_ptr<Resetter>> create(Machine& machine, DirtyAccumulator& dirty,
                                                  const SnapshotChain& chain);
  ~Resetter();
  Resetter(const Resetter&) = delete;
  Resetter& operator=(const Resetter&) = delete;
  Resetter(Resetter&&) = delete;
  Resetter& operator=(Resetter&&) = delete;

  // Paused Machine only (else kInvalidArgument, and nothing has happened), whatever its guest did,
  // failed and exited ones included. Afterwards memory, vCPUs and devices are as after a restore by
  // Restorer; devices draw a new generation with their state, as they do then; nothing is dirty.
  // Bytes are compared with their checksums before they are used.
  //
  // After an error (kIo, kCorruption: a damaged or truncated payload; those of tracker and
  // Machine::load_state()) the Machine is condemned: it neither runs nor is saved until another
  // reset() has succeeded, which begins with what this one left.
  Result<ResetReport> reset();

 private:
  class Parts;
  explicit Resetter(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace stasis::snapshot
