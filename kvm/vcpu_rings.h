// The dirty rings of a VM's vCPUs.
#pragma once

#include <cstdint>
#include <vector>

#include "core/mutex.h"
#include "kvm/dirty_ring_log.h"
#include "kvm/ring_mapping.h"

namespace stasis::kvm {

// Keeps the rings mapped as long as the VM, whenever its vCPUs go. Thread-safe.
class VcpuRings {
 public:
  // `log` must outlive this. `entries`: of each ring.
  VcpuRings(DirtyRingLog& log, std::uint32_t entries) : log_(log), entries_(entries) {}

  // For a vCPU that has just been created.
  Result<void> add(const KvmFd& vcpu) {
    STASIS_ASSIGN(RingMapping mapping, RingMapping::create(vcpu, entries_ * sizeof(kvm_dirty_gfn)));
    const MutexLock lock(mutex_);
    mappings_.push_back(std::move(mapping));
    log_.add_ring(mappings_.back().entries());
    return {};
  }
  // For a vCPU whose ring is full.
  Result<void> empty() { return log_.empty(); }

 private:
  DirtyRingLog& log_;
  std::size_t entries_;
  Mutex mutex_;
  std::vector<RingMapping> mappings_ STASIS_GUARDED_BY(mutex_);
};

}  // namespace stasis::kvm
