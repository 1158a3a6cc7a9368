// A VM of KVM.
#pragma once

#include <array>
#include <atomic>
#include <memory>

#include "core/hypervisor.h"
#include "kvm/host_facts.h"
#include "kvm/kvm_dirty_log.h"
#include "kvm/kvm_fd.h"
#include "kvm/memory_slots.h"
#include "kvm/options.h"

namespace stasis::kvm {

// Thread-compatible; create_vcpu() from several threads at once, after map().
class KvmVm final : public Vm {
 public:
  static Result<std::unique_ptr<Vm>> create(std::shared_ptr<HostFacts> facts,
                                            const VmConfig& config, const Options& options);

  Result<void> map(GuestMemory& memory, Access access) override;
  Result<void> protect(std::span<const GpaRange> ranges, Access access) override;
  Result<std::unique_ptr<Vcpu>> create_vcpu(std::uint32_t index) override;
  DirtyLog* dirty_log() override { return &dirty_log_; }

 private:
  KvmVm(KvmFd fd, std::shared_ptr<HostFacts> facts, std::uint32_t vcpus, const Options& options)
      : facts_(std::move(facts)),
        vcpus_(vcpus),
        options_(options),
        fd_(std::move(fd)),
        slots_(fd_, facts_->features().slots_max, options.before_deferred_slot),
        dirty_log_(fd_, slots_) {}

  // Constant after construction.
  std::shared_ptr<HostFacts> facts_;
  std::uint32_t vcpus_;
  Options options_;
  KvmFd fd_;
  // In this order: the slots' thread ends before the VM's descriptor is closed.
  MemorySlots slots_;
  KvmDirtyLog dirty_log_;
  // Owner thread only.
  bool mapped_ = false;
  // Any thread: which indices are taken.
  std::array<std::atomic<bool>, kVcpusMax> taken_ = {};
  std::atomic<std::uint32_t> created_ = 0;
};

}  // namespace stasis::kvm
