// KVM's dirty page bitmap over all memory slots of a VM, in its classic form.
#pragma once

#include <cstdint>
#include <vector>

#include "core/hypervisor.h"
#include "kvm/kvm_fd.h"
#include "kvm/memory_slots.h"

namespace stasis::kvm {

// KVM_GET_DIRTY_LOG in its classic form: it returns a slot's bitmap, clears it and protects the
// pages again in one step. A vCPU that runs meanwhile may still write to a page that is in the
// answer until the call returns; what it writes later is logged anew.
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
  [[nodiscard]] bool collects_while_running() const override { return true; }

 private:
  const KvmFd& vm_;
  MemorySlots& slots_;
  std::vector<std::uint64_t> bitmap_;
  bool started_ = false;
};

// The bitmap of `slot`, which must be logged, with the request that all bitmap logs share: what it
// does beside reading depends on KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2.
Result<void> read_dirty_bitmap(const KvmFd& vm, const MemorySlot& slot,
                               std::vector<std::uint64_t>& bitmap);

// kInvalidArgument if the slots are logged already, by whichever log.
Result<void> check_not_logged(const MemorySlots& slots);

}  // namespace stasis::kvm
