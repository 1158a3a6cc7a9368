// A vCPU of KVM.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/hypervisor.h"
#include "kvm/host_facts.h"
#include "kvm/kvm_fd.h"
#include "kvm/kvm_trap.h"
#include "kvm/memory_slots.h"
#include "kvm/pending_io.h"
#include "kvm/run_mapping.h"
#include "kvm/vcpu_rings.h"
#include "kvm/vcpu_state_io.h"

namespace stasis::kvm {

// Thread-affine: made, used and destroyed on one thread (other threads get kInvalidArgument);
// request_exit() is for any thread.
//
// How a request_exit() reaches a vCPU without a race: it sets kvm_run.immediate_exit and then, if
// the vCPU says that it is in (or about to be in) KVM_RUN, sends its thread the kick signal. If the
// vCPU enters after the flag was set, the kernel sees the flag and returns EINTR; if it entered
// before, the signal makes it return EINTR. The two stores and loads are sequentially consistent,
// so that one of the two sides sees the other's.
class KvmVcpu final : public Vcpu {
 public:
  // Everything borrowed outlives the vCPU. `created`: how many vCPUs the VM has when one first
  // runs. Only a single one may run while slots are still being registered, because an emulated
  // access is not atomic for the others. `rings`: null if the VM keeps none.
  static Result<std::unique_ptr<Vcpu>> create(const KvmFd& vm, std::shared_ptr<HostFacts> facts,
                                              MemorySlots& slots, std::uint32_t index,
                                              const std::atomic<std::uint32_t>& created,
                                              VcpuRings* rings);
  ~KvmVcpu() override = default;
  KvmVcpu(const KvmVcpu&) = delete;
  KvmVcpu& operator=(const KvmVcpu&) = delete;
  KvmVcpu(KvmVcpu&&) = delete;
  KvmVcpu& operator=(KvmVcpu&&) = delete;

  Result<VcpuExit> run() override;
  Result<VcpuExit> run_for(std::uint64_t instructions) override;
  Result<void> complete_read(std::uint64_t value) override;
  Result<VcpuState> save_state() override;
  Result<void> load_state(const VcpuState& state) override;
  Result<CounterRelation> counter_relation() override;
  void request_exit() noexcept override;
  X86TrapAccess* trap_access() override { return &trap_; }

 private:
  // Nothing: KVM_RUN again.
  using Decoded = Result<std::optional<VcpuExit>>;

  KvmVcpu(KvmFd fd, RunMapping run, std::shared_ptr<HostFacts> facts, MemorySlots& slots,
          const std::atomic<std::uint32_t>& created, VcpuRings* rings, int kick_signal);
  Result<void> check_thread() const;
  Result<void> pass_entry_gate();
  int enter_kernel() noexcept;  // KVM_RUN: 0 or -errno.
  int enter_kernel_to_complete();
  Result<void> keep_next_access();
  Result<VcpuExit> run_until_exit();
  Decoded decode_interruption();
  Decoded decode_refusal(int os_error, bool slots_were_pending);
  Decoded decode_exit(bool slots_were_pending);
  Decoded empty_rings();
  Decoded decode_port();
  Decoded decode_mmio();
  Result<bool> complete_ram_access(Gpa gpa, std::span<std::byte> data, bool is_write);
  Result<void> forget_translations();
  Decoded fail(std::string reason);
  Result<void> finish_instruction();
  Result<void> discard_instruction();
  Result<void> save_registers(X86VcpuState& state);
  Result<void> load_registers(const X86VcpuState& state);
  Error explain_refused_registers(const X86VcpuState& state, const Error& refusal) const;
  void set_immediate_exit(bool on) noexcept;

  // Constant after construction.
  std::shared_ptr<HostFacts> facts_;
  MemorySlots& slots_;
  const std::atomic<std::uint32_t>& vcpus_created_;
  VcpuRings* rings_;
  int kick_signal_;
  std::thread::id owner_;
  pthread_t owner_handle_;

  // Owner thread only, but for run_->immediate_exit, which is accessed atomically.
  KvmFd fd_;
  RunMapping run_;
  PendingIo io_;
  KvmTrapAccess trap_{fd_, run_, *facts_};
  VcpuSetup given_;
  bool used_ = false;                                // Has run, or has been loaded.
  std::optional<X86SystemRegisters> loaded_system_;  // Until the entry gate has looked at it.
  bool gate_passed_ = false;                         // Since the last load.
  bool instruction_unfinished_ = false;  // KVM still has to complete the last exit's access.

  // Any thread. Sequentially consistent, see above.
  std::atomic<bool> cancel_requested_ = false;
  std::atomic<bool> in_kernel_ = false;
};

}  // namespace stasis::kvm
