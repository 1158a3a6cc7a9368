// Guest memory as it was at one moment, while the guest writes on: what a live capture reads.
//
// The order of calls: prepare(), freeze(), take() of every frozen page once, check(), thaw(). After
// an error of any of them: thaw().
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "core/dirty_tracker.h"
#include "core/ranges.h"
#include "core/result.h"
#include "snapshot/live/live_options.h"

namespace stasis::snapshot::internal {

// Resource: the destructor thaws. Threads: prepare() and freeze() from the Machine's owner; take(),
// check() and thaw() from any thread, take() from several at a time.
class FrozenMemory {
 public:
  virtual ~FrozenMemory() = default;
  [[nodiscard]] virtual std::string_view mechanism() const = 0;

  // Whatever can be done for freeze(ranges) in advance; the guest may run meanwhile. `ranges` is
  // all of memory or nothing, where what will be frozen is not known yet.
  virtual Result<void> prepare(const GpaRanges& ranges) = 0;
  // With the Machine paused: from now on take() gives the bytes that are there now, whoever writes.
  // Whole pages; where prepare() was given any, the same.
  virtual Result<void> freeze(const GpaRanges& ranges) = 0;
  // The frozen bytes of `range` (inside one region): all of `out`. Afterwards writes to them are
  // free, so each page is taken once.
  virtual Result<void> take(GpaRange range, std::span<std::byte> out) = 0;
  // Asked after the last take(): whether all of them were what was frozen.
  [[nodiscard]] virtual Result<void> check() const = 0;
  // Nothing is frozen any more, and nobody waits. Idempotent.
  virtual void thaw() noexcept = 0;

  // To be installed in the pause, after freeze(), and to stay until a pause after thaw(); nullptr
  // unless the mechanism works by ExitWriteProtected.
  virtual WriteFaultHandler* write_fault_handler() { return nullptr; }
  [[nodiscard]] virtual LiveCounters counters() const = 0;
};

}  // namespace stasis::snapshot::internal
