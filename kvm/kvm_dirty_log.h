// KVM's dirty page log over all memory slots of a VM.
#pragma once

#include <cstdint>
#include <vector>

#include "core/hypervisor.h"
#include "kvm/kvm_fd.h"
#include "kvm/memory_slots.h"

namespace stasis::kvm {

// KVM_GET_DIRTY_LOG in its classic form: it returns a slot's bitmap, clears it and protects the
// pages again in one step, which is exact while no vCPU is in the guest. The manual form
// (KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) costs the same per dirty page here and pays only for
// collecting from a running guest.
//
// Misses nothing: enabling the flag on a slot write-protects all of its mapped pages before the
// call returns. Not exact: KVM maps a page that it meets for the first time writable, if the host
// and the guest allow it, even when the guest only reads, and logs it then. Such a page is reported
// once. Thread-compatible, as its Vm.
class KvmDirtyLog final : public DirtyLog {
 public:
  // Both must outlive this.
  KvmDirtyLog(const KvmFd& vm, MemorySlots& slots) : vm_(vm), slots_(slots) {}

  Result<void> start() override;
  Result<GpaRanges> collect() override;
  Result<void> stop() override;
  [[nodiscard]] bool is_exact() const override { return false; }

 private:
  Result<void> read_slot(const MemorySlot& slot);

  const KvmFd& vm_;
  MemorySlots& slots_;
  std::vector<std::uint64_t> bitmap_;
  bool started_ = false;
};

}  // namespace stasis::kvm
