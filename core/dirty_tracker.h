// DirtyTracker: which pages were written since I last asked? One interface for every mechanism;
// the algorithms live in snapshot/trackers/, the hypervisor's part in DirtyLog and Vm::protect().
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/address.h"
#include "core/ranges.h"
#include "core/result.h"

namespace stasis {

// What a tracker promises. Value.
struct TrackerTraits {
  std::string name;  // As on the command line.
  bool sees_host_writes =
      false;          // If not, Machine::collect_dirty() adds GuestMemory::host_writes().
  bool exact = true;  // false: may report clean pages, never misses a dirty one.
  std::uint64_t granularity_bytes = 4096;
  // collect() may also be called while vCPUs run: a page written in the meantime is in this
  // collection or in the next one, and its bytes must be read after collect() has returned.
  bool collects_while_running = false;
};

// Receives guest writes to protected memory, on the vCPU's thread, while other vCPUs may run.
class WriteFaultHandler {
 public:
  virtual ~WriteFaultHandler() = default;
  // Thread-safe. After success the write permission of the page is back and the vCPU runs on.
  virtual Result<void> on_write_fault(Gpa gpa) = 0;
};

// Every vCPU must be out of the guest for arm(), collect() and disarm() (Machine::pause()), except
// as TrackerTraits::collects_while_running allows.
// Not thread-safe.
class DirtyTracker {
 public:
  virtual ~DirtyTracker() = default;
  [[nodiscard]] virtual const TrackerTraits& traits() const = 0;

  // From now on every write counts. A second arm() without disarm() is kInvalidArgument.
  virtual Result<void> arm() = 0;
  // The pages written since arm() or the last collect(), normalized page multiples; they count
  // again afterwards, in the same step. kInvalidArgument unless armed.
  virtual Result<GpaRanges> collect() = 0;
  // Calls `write`, which overwrites pages of `ranges`, whole units that collect() has returned,
  // from the host and by GuestMemory::writable_view(). These writes do not count, as if they had
  // come before that collect(). An error, `write`'s or the tracker's own: `ranges` may count or
  // not. This one is right for every tracker, at the price of another collect() where the host's
  // writes are seen. No vCPU may run, whatever the traits say.
  virtual Result<void> overlook(const GpaRanges& ranges,
                                const std::function<Result<void>()>& write);
  // Leaves memory as untracked as before arm(). Also done by the destructor.
  virtual Result<void> disarm() = 0;

  // nullptr unless the tracker works by ExitWriteProtected.
  virtual WriteFaultHandler* write_fault_handler() = 0;
};

}  // namespace stasis
