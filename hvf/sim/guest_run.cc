#include "hvf/sim/guest_run.h"

#include <variant>

#include "hvf/sim/gic_run.h"
#include "hvf/syndrome.h"

namespace stasis::hvf::sim {
namespace {

// MDCR_EL2: accesses to the performance monitors and to the OS lock trap under the framework.
constexpr std::uint64_t kTrapPerformance = 1U << 6U | 1U << 5U, kTrapOsLock = 1U << 10U;
constexpr std::uint64_t kTrapDebugExceptions = 1U << 8U;
constexpr std::uint64_t kTrapDebugRegisters = 1U << 9U | 1U << 11U;

void hand_over(Vcpu& vcpu, Machine& machine, Mailbox& box) {
  box.flags = vcpu.timer_masked || vcpu.timer_line ? kFlagTimerMasked : 0;
  vcpu.registers.store_general(box);
  if (!vcpu.pe_is_current) {
    vcpu.registers.store_state(box);
    box.flags |= kFlagLoadState;
    vcpu.pe_is_current = true;
  }
  const std::uint64_t translations = machine.translations.load(std::memory_order_seq_cst);
  if (translations != vcpu.known_translations) {
    box.flags |= kFlagFlushTlb;
    vcpu.known_translations = translations;
  }
  if (machine.gic == nullptr) {
    machine.engine->set_lines(vcpu.pe, vcpu.pending[HV_INTERRUPT_TYPE_IRQ],
                              vcpu.pending[HV_INTERRUPT_TYPE_FIQ], Attention::kNotNeeded);
  }
  box.timer_offset = vcpu.timer_offset;
  box.debug_traps = kTrapPerformance | kTrapOsLock |
                    (vcpu.traps_debug_exceptions ? kTrapDebugExceptions : 0) |
                    (vcpu.traps_debug_registers ? kTrapDebugRegisters : 0);
}

hv_vcpu_exit_t exit_of(const Mailbox& box) {
  hv_vcpu_exit_t exit = {};
  switch (static_cast<Reason>(box.reason)) {
    case Reason::kException: {
      exit.reason = HV_EXIT_REASON_EXCEPTION;
      exit.exception.syndrome = box.syndrome;
      const Trap trap = decode_syndrome(box.syndrome);
      if (std::holds_alternative<DataAbort>(trap) ||
          std::holds_alternative<InstructionAbort>(trap)) {
        exit.exception.virtual_address = box.virtual_address;
        exit.exception.physical_address = fault_address(box);
      }
      break;
    }
    case Reason::kTimer:
      exit.reason = HV_EXIT_REASON_VTIMER_ACTIVATED;
      break;
    case Reason::kCanceled:
      exit.reason = HV_EXIT_REASON_CANCELED;
      break;
    case Reason::kUnexpected:
    case Reason::kPanic:
      exit.reason = HV_EXIT_REASON_UNKNOWN;
      break;
  }
  return exit;
}

// Reads of identity registers trap to the monitor, because a guest sees what hv_vcpu_set_sys_reg()
// put there; the framework answers them itself. "HCR_EL2.TID3": op0 3, op1 0, CRn 0, CRm 1 to 7.
bool answer_identity_read(Vcpu& vcpu, const Mailbox& box) {
  if (static_cast<Reason>(box.reason) != Reason::kException) {
    return false;
  }
  const Trap trap = decode_syndrome(box.syndrome);
  const auto* access = std::get_if<SystemRegisterTrap>(&trap);
  if (access == nullptr || access->access != RegisterAccess::kRead ||
      (access->encoding & 0xff80U) != 0xc000U || (access->encoding & 0x78U) == 0) {
    return false;
  }
  if (access->reg.has_value()) {
    vcpu.registers.set(hv_reg_t{*access->reg}, vcpu.registers.identity(access->encoding));
  }
  vcpu.registers.set(HV_REG_PC, box.pc + bytes_to_skip(box.syndrome));
  return true;
}

// The lines of an interrupt controller may change while the guest runs, and the tables may.
Result<void> enter_guest(Vcpu& vcpu, Machine& machine, Mailbox& box) {
  vcpu.in_guest.store(true, std::memory_order_seq_cst);
  hand_over(vcpu, machine, box);
  vcpu.host_is_current = false;
  if (machine.gic != nullptr) {
    machine.gic->enter(vcpu.creation_index);
  }
  Result<void> outcome = machine.engine->run(vcpu.pe);
  if (machine.gic != nullptr) {
    machine.gic->leave(vcpu.creation_index);
  }
  vcpu.in_guest.store(false, std::memory_order_seq_cst);
  return outcome;
}

Result<hv_return_t> run_until_exit(Vcpu& vcpu, Machine& machine) {
  if (machine.engine->take_cancel(vcpu.pe)) {
    vcpu.exit = {};  // CANCELED: the guest is not entered.
    return hv_return_t{HV_SUCCESS};
  }
  if (machine.gic != nullptr) {
    forget_stale_timer(vcpu, machine);
  }
  Mailbox& box = machine.engine->mailbox(vcpu.pe);
  bool is_answered = true;
  while (is_answered) {
    STASIS_TRY(enter_guest(vcpu, machine, box));
    vcpu.registers.load_general(box);
    is_answered = answer_identity_read(vcpu, box);
    if (!is_answered && machine.gic != nullptr) {
      STASIS_ASSIGN(is_answered, answer_for_gic(vcpu, machine, box));
    }
  }
  vcpu.exit = exit_of(box);
  vcpu.timer_masked = vcpu.timer_masked || vcpu.exit.reason == HV_EXIT_REASON_VTIMER_ACTIVATED;
  return hv_return_t{HV_SUCCESS};
}

}  // namespace

// "HPFAR_EL2": bits [51:12] of the address in bits [43:4]. Of a table walk only the page is known.
hv_ipa_t fault_address(const Mailbox& box) {
  const bool is_table_walk = (box.syndrome & 0x80U) != 0;
  return ((box.fault_page << 8U) & ~std::uint64_t{0xfff}) |
         (is_table_walk ? 0 : box.virtual_address & 0xfffU);
}

Result<hv_return_t> run_guest(Vcpu& vcpu, Machine& machine) {
  vcpu.in_run.store(true, std::memory_order_seq_cst);
  Result<hv_return_t> result = run_until_exit(vcpu, machine);
  vcpu.in_run.store(false, std::memory_order_seq_cst);
  vcpu.pending = {};
  return result;
}

Result<void> fetch_state(Vcpu& vcpu, Machine& machine, Fetch fetch) {
  const bool is_wanted = !vcpu.host_is_current || (fetch == Fetch::kRenew && vcpu.pe_is_current);
  if (!is_wanted) {
    return {};
  }
  STASIS_TRY(machine.engine->save_state(vcpu.pe));
  vcpu.registers.load_state(machine.engine->mailbox(vcpu.pe));
  vcpu.host_is_current = true;
  return {};
}

}  // namespace stasis::hvf::sim
