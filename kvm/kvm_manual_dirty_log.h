// KVM's dirty page bitmap with manual protection: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2.
#pragma once

#include <cstdint>
#include <vector>

#include "core/hypervisor.h"
#include "kvm/kvm_fd.h"
#include "kvm/memory_slots.h"

namespace stasis::kvm {

// Reading the bitmap changes nothing; KVM_CLEAR_DIRTY_LOG then clears and protects again the pages
// that were read, in the parts of a slot that hold any (api.rst, 4.117). So a collection costs what
// was dirty and not what there is, and holds KVM's lock for a part at a time. A page that is
// written between the two steps is in this collection, and its bytes are read later.
//
// Where KVM offers KVM_DIRTY_LOG_INITIALLY_SET, enabling the log protects nothing and calls all
// pages dirty; start() clears them all, part by part, which protects them.
//
// Misses nothing and is not exact, as KvmDirtyLog. Thread-compatible, as its Vm.
class KvmManualDirtyLog final : public DirtyLog {
 public:
  // Both must outlive this. `offered`: the value of the capability, a set of KVM_DIRTY_LOG_*.
  KvmManualDirtyLog(const KvmFd& vm, MemorySlots& slots, std::uint32_t offered)
      : vm_(vm), slots_(slots), offered_(offered) {}

  Result<void> start() override;
  Result<GpaRanges> collect() override;
  Result<void> stop() override;
  [[nodiscard]] bool is_exact() const override { return false; }
  [[nodiscard]] bool collects_while_running() const override { return true; }

 private:
  Result<void> choose(std::uint32_t mode) const;
  Result<void> start_logging();
  Result<void> clear(const MemorySlot& slot);  // The pages that are set in bitmap_.

  const KvmFd& vm_;
  MemorySlots& slots_;
  std::uint32_t offered_;
  std::vector<std::uint64_t> bitmap_;
  GpaRanges owed_;  // For the next collection, after one that failed.
  bool started_ = false;
};

}  // namespace stasis::kvm
