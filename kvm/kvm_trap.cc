#include "kvm/kvm_trap.h"

#include "kvm/guest_counter.h"
#include "kvm/vcpu_state_io.h"
#include "kvm/x86_transfer.h"

namespace stasis::kvm {
namespace {

constexpr std::uint64_t kShared = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;

}  // namespace

bool KvmTrapAccess::can_share() const noexcept {
  return facts_.features().shares(kShared);
}

Result<X86TrapRegisters> KvmTrapAccess::registers() {
  if ((run_->kvm_valid_regs & kShared) != kShared) {
    STASIS_TRY(vcpu_.apply(kGetRegs, &run_->s.regs.regs));
    STASIS_TRY(vcpu_.apply(kGetSregs, &run_->s.regs.sregs));
    if (can_share()) {
      run_->kvm_valid_regs |= kShared;
    }
  }
  const kvm_sregs& sregs = run_->s.regs.sregs;
  return X86TrapRegisters{.general = from_kvm(run_->s.regs.regs),
                          .cs = from_kvm(sregs.cs),
                          .ss = from_kvm(sregs.ss),
                          .fs_base = sregs.fs.base,
                          .gs_base = sregs.gs.base,
                          .cr2 = sregs.cr2};
}

Result<void> KvmTrapAccess::set_registers(const X86TrapRegisters& registers) {
  run_->s.regs.regs = to_kvm(registers.general);
  kvm_sregs& sregs = run_->s.regs.sregs;
  const kvm_segment cs = to_kvm(registers.cs);
  const kvm_segment ss = to_kvm(registers.ss);
  const bool same_system = sregs.cs.selector == cs.selector && sregs.cs.dpl == cs.dpl &&
                           sregs.ss.selector == ss.selector && sregs.ss.dpl == ss.dpl &&
                           sregs.fs.base == registers.fs_base && sregs.gs.base == registers.gs_base;
  sregs.cs = cs;
  sregs.ss = ss;
  sregs.fs.base = registers.fs_base;
  sregs.gs.base = registers.gs_base;
  if (!can_share()) {
    STASIS_TRY(vcpu_.apply(kSetSregs, &sregs));
    return vcpu_.apply(kSetRegs, &run_->s.regs.regs);
  }
  run_->kvm_dirty_regs |= KVM_SYNC_X86_REGS | (same_system ? 0 : KVM_SYNC_X86_SREGS);
  return {};
}

Result<std::vector<std::byte>> KvmTrapAccess::extended_state() {
  return save_xsave(vcpu_, facts_);
}

Result<void> KvmTrapAccess::set_extended_state(std::span<const std::byte> xsave) {
  if (xsave.size() != facts_.features().xsave_bytes) {
    return Error{Errc::kInvalidArgument, 0,
                 "an XSAVE image of " + std::to_string(xsave.size()) + " bytes: it has " +
                     std::to_string(facts_.features().xsave_bytes)};
  }
  if (Result<void> set = load_xsave(vcpu_, xsave, facts_); !set) {
    return Error{Errc::kInvalidArgument, set.error().os_error, set.error().message};
  }
  return {};
}

// What KVM has accepted and not yet delivered it delivers to whatever registers the next entry has.
Result<bool> KvmTrapAccess::is_between_instructions() {
  kvm_vcpu_events raw{};
  STASIS_TRY(vcpu_.apply(kGetVcpuEvents, &raw));
  const X86PendingEvents events = from_kvm(raw);
  return !events.exception_injected && !events.exception_pending && !events.interrupt_injected &&
         events.interrupt_shadow == 0 && !events.nmi_injected && !events.nmi_pending &&
         !events.smi_pending && !events.triple_fault_pending;
}

// Under PVM a guest reads the host's counter, whatever KVM was told. Elsewhere KVM adds an offset,
// and may scale; that it only adds is tried out.
std::optional<X86GuestCounter> KvmTrapAccess::guest_counter() {
  if (!facts_.host_trusts_counter()) {
    return std::nullopt;
  }
  const int khz = vcpu_.attempt(kGetTscKhz, 0);
  if (khz <= 0) {
    return std::nullopt;
  }
  X86GuestCounter counter{.offset = 0, .khz = static_cast<std::uint32_t>(khz)};
  if (facts_.features().engine == Engine::kPvm) {
    return counter;
  }
  const std::optional<std::uint64_t> offset = tsc_offset(vcpu_);
  if (!offset) {
    return std::nullopt;
  }
  counter.offset = *offset;
  const Result<CounterRelation> seen = bracket_tsc(vcpu_, counter.khz, counter.khz);
  if (!seen) {
    return std::nullopt;
  }
  // Modulo 2^64: from the earliest that the guest's counter can have been, if KVM only adds.
  const std::uint64_t late = seen->guest - (seen->host - seen->error_ticks + *offset);
  return late <= 2 * seen->error_ticks ? std::optional(counter) : std::nullopt;
}

}  // namespace stasis::kvm
