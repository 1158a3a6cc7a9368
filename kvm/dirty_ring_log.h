// The dirty log of a VM whose vCPUs keep rings.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "core/host_write_log.h"
#include "core/hypervisor.h"
#include "core/mutex.h"
#include "kvm/dirty_ring.h"

namespace stasis::kvm {

// What a DirtyRingLog needs of the kernel; in tests, of an imitation of it.
class RingKernel {
 public:
  virtual ~RingKernel() = default;
  // RAM by slot, in address order; the index is the slot's number. After the VM has its memory.
  [[nodiscard]] virtual std::vector<GpaRange> slots() const = 0;
  // Whether the slots' writes go to the rings. Turning it on protects all pages.
  virtual Result<void> set_logging(bool on) = 0;
  // Gives back the entries that were read, and protects their pages.
  virtual Result<void> reset_rings() = 0;
};

// Collects the rings of all vCPUs into one set of pages. A ring that is full makes its vCPU exit;
// empty() then takes what all rings hold, keeps it for the next collection, and the vCPU runs on.
//
// Two orders keep every page: a page is noted before its entry is given back, and protected again,
// by the reset, before its note is reported. Both are one step under the mutex, so that a vCPU with
// a full ring and the collecting thread do not mix.
//
// Not exact, as KvmDirtyLog. Threads: empty() and add_ring() from any, the rest from the Vm's owner
// thread.
class DirtyRingLog final : public DirtyLog {
 public:
  // `kernel` must outlive this.
  explicit DirtyRingLog(RingKernel& kernel) : kernel_(kernel) {}

  // The ring of one more vCPU; before it first runs. The entries outlive this.
  void add_ring(std::span<kvm_dirty_gfn> entries);
  // For a vCPU whose ring is full. What the rings hold is lost if no log is started.
  Result<void> empty();
  // How often that was, since the start.
  [[nodiscard]] std::uint64_t times_full() const;

  Result<void> start() override;
  Result<GpaRanges> collect() override;
  Result<void> stop() override;
  [[nodiscard]] bool is_exact() const override { return false; }
  [[nodiscard]] bool collects_while_running() const override { return true; }

 private:
  Result<void> take_all() STASIS_REQUIRES(mutex_);

  RingKernel& kernel_;
  mutable Mutex mutex_;
  std::vector<DirtyRing> rings_ STASIS_GUARDED_BY(mutex_);
  std::vector<GpaRange> slots_ STASIS_GUARDED_BY(mutex_);
  std::optional<HostWriteLog> written_ STASIS_GUARDED_BY(mutex_);  // While started.
  // Pages may be writable and unknown: no collection can be trusted until the log starts again.
  std::optional<Error> failure_ STASIS_GUARDED_BY(mutex_);
  std::uint64_t times_full_ STASIS_GUARDED_BY(mutex_) = 0;
};

}  // namespace stasis::kvm
