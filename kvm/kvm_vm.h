// A VM of KVM.
#pragma once

#include <array>
#include <atomic>
#include <memory>

#include "core/hypervisor.h"
#include "kvm/dirty_ring_log.h"
#include "kvm/host_facts.h"
#include "kvm/kvm_dirty_log.h"
#include "kvm/kvm_fd.h"
#include "kvm/kvm_manual_dirty_log.h"
#include "kvm/memory_slots.h"
#include "kvm/options.h"
#include "kvm/vcpu_rings.h"

namespace stasis::kvm {

// Thread-compatible; create_vcpu() from several threads at once, after map().
class KvmVm final : public Vm, private RingKernel {
 public:
  static Result<std::unique_ptr<Vm>> create(std::shared_ptr<HostFacts> facts,
                                            const VmConfig& config, const Options& options);

  Result<void> map(GuestMemory& memory, Access access) override;
  Result<void> protect(std::span<const GpaRange> ranges, Access access) override;
  Result<std::unique_ptr<Vcpu>> create_vcpu(std::uint32_t index) override;
  DirtyLog* dirty_log(DirtyLogKind kind) override;

 private:
  KvmVm(KvmFd fd, std::shared_ptr<HostFacts> facts, const VmConfig& config, const Options& options)
      : facts_(std::move(facts)),
        vcpus_(config.vcpus),
        ring_entries_(config.dirty_ring_entries),
        options_(options),
        fd_(std::move(fd)),
        slots_(fd_, facts_->features().slots_max, options.before_deferred_slot),
        dirty_log_(fd_, slots_),
        manual_dirty_log_(fd_, slots_, facts_->features().manual_dirty_modes),
        ring_log_(*this),
        rings_(ring_log_, config.dirty_ring_entries) {}

  // RingKernel.
  [[nodiscard]] std::vector<GpaRange> slots() const override;
  Result<void> set_logging(bool on) override;
  Result<void> reset_rings() override;

  // Constant after construction.
  std::shared_ptr<HostFacts> facts_;
  std::uint32_t vcpus_;
  std::uint32_t ring_entries_;  // 0: the vCPUs keep no rings.
  Options options_;
  KvmFd fd_;
  // In this order: the slots' thread ends before the VM's descriptor is closed.
  MemorySlots slots_;
  KvmDirtyLog dirty_log_;
  KvmManualDirtyLog manual_dirty_log_;
  DirtyRingLog ring_log_;
  VcpuRings rings_;
  // Owner thread only.
  bool mapped_ = false;
  // Any thread: which indices are taken.
  std::array<std::atomic<bool>, kVcpusMax> taken_ = {};
  std::atomic<std::uint32_t> created_ = 0;
};

}  // namespace stasis::kvm
