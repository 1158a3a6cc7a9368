// A vCPU's registers at a trap, through the copy that kvm_run shares.
#pragma once

#include "core/trap.h"
#include "kvm/host_facts.h"
#include "kvm/kvm_fd.h"
#include "kvm/run_mapping.h"

namespace stasis::kvm {

// KVM_CAP_SYNC_REGS (api.rst, 6.74 in Linux 6.12): the kernel stores the registers into kvm_run at
// each exit and takes them from there at the next entry, so that a trap costs no further ioctl. The
// first trap switches this on. An entry takes them before it completes the instruction that exited,
// and KVM completes an OUT only while the instruction pointer is still the OUT's.
//
// Thread-affine, as its vCPU.
class KvmTrapAccess final : public X86TrapAccess {
 public:
  // All outlive this.
  KvmTrapAccess(const KvmFd& vcpu, const RunMapping& run, HostFacts& facts)
      : vcpu_(vcpu), run_(run), facts_(facts) {}

  Result<X86TrapRegisters> registers() override;
  Result<void> set_registers(const X86TrapRegisters& registers) override;
  Result<std::vector<std::byte>> extended_state() override;
  Result<void> set_extended_state(std::span<const std::byte> xsave) override;
  Result<bool> is_between_instructions() override;
  [[nodiscard]] std::optional<X86GuestCounter> guest_counter() override;

 private:
  [[nodiscard]] bool can_share() const noexcept;

  const KvmFd& vcpu_;
  const RunMapping& run_;
  HostFacts& facts_;
};

}  // namespace stasis::kvm
