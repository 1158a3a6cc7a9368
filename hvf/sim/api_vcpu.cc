// hv_vcpu_* and hv_vcpus_exit().
#include <cstddef>

#include <Hypervisor/Hypervisor.h>

#include "core/result.h"
#include "hvf/sim/guest_run.h"
#include "hvf/sim/process.h"

using stasis::Result;
using stasis::hvf::sim::Fetch;
using stasis::hvf::sim::fetch_state;
using stasis::hvf::sim::Gic;
using stasis::hvf::sim::Machine;
using stasis::hvf::sim::process;
using stasis::hvf::sim::Vcpu;

namespace {

// Reads or writes something of a vCPU that cannot fail.
template <typename Action>
hv_return_t access(hv_vcpu_t vcpu, const Action& action) {
  return process().with_vcpu(vcpu, [&](Vcpu& own, Machine& /*machine*/) {
    action(own);
    return Result<hv_return_t>(HV_SUCCESS);
  });
}

// Registers that are a part of every exit and entry; the others may have to be fetched.
bool is_general(hv_reg_t reg) {
  return reg <= HV_REG_PC || reg == HV_REG_CPSR;
}

template <typename Register, typename Value>
hv_return_t read(hv_vcpu_t vcpu, Register reg, Value& value, Fetch fetch) {
  return process().with_vcpu(vcpu, [&](Vcpu& own, Machine& machine) -> Result<hv_return_t> {
    STASIS_TRY(fetch_state(own, machine, fetch));
    return own.registers.get(reg, value);
  });
}

// The next entry loads all of them.
template <typename Register, typename Value>
hv_return_t write(hv_vcpu_t vcpu, Register reg, const Value& value) {
  return process().with_vcpu(vcpu, [&](Vcpu& own, Machine& machine) -> Result<hv_return_t> {
    STASIS_TRY(fetch_state(own, machine));
    own.pe_is_current = false;
    own.timer_is_stale = true;
    return own.registers.set(reg, value);
  });
}

bool is_interrupt(hv_interrupt_type_t type) {
  return type == HV_INTERRUPT_TYPE_IRQ || type == HV_INTERRUPT_TYPE_FIQ;
}

}  // namespace

hv_return_t hv_vcpu_create(hv_vcpu_t* vcpu, hv_vcpu_exit_t** exit, hv_vcpu_config_t config) {
  // There is no hv_vcpu_config_create() here, so there is no configuration that could be ours.
  return config != nullptr ? HV_BAD_ARGUMENT : process().vcpu_create(*vcpu, *exit);
}

hv_return_t hv_vcpu_destroy(hv_vcpu_t vcpu) {
  return process().vcpu_destroy(vcpu);
}

hv_return_t hv_vcpu_run(hv_vcpu_t vcpu) {
  return process().vcpu_run(vcpu);
}

hv_return_t hv_vcpus_exit(hv_vcpu_t* vcpus, std::uint32_t vcpu_count) {
  return process().vcpus_exit(vcpus, vcpu_count);
}

hv_return_t hv_vcpu_get_reg(hv_vcpu_t vcpu, hv_reg_t reg, std::uint64_t* value) {
  if (!is_general(reg)) {
    return read(vcpu, reg, *value, Fetch::kIfNeeded);
  }
  return process().with_vcpu(vcpu, [&](const Vcpu& own, Machine& /*machine*/) {
    return Result<hv_return_t>(own.registers.get(reg, *value));
  });
}

hv_return_t hv_vcpu_set_reg(hv_vcpu_t vcpu, hv_reg_t reg, std::uint64_t value) {
  if (!is_general(reg)) {
    return write(vcpu, reg, value);
  }
  return process().with_vcpu(vcpu, [&](Vcpu& own, Machine& /*machine*/) {
    return Result<hv_return_t>(own.registers.set(reg, value));
  });
}

hv_return_t hv_vcpu_get_simd_fp_reg(hv_vcpu_t vcpu, hv_simd_fp_reg_t reg,
                                    hv_simd_fp_uchar16_t* value) {
  return read(vcpu, reg, *value, Fetch::kIfNeeded);
}

hv_return_t hv_vcpu_set_simd_fp_reg(hv_vcpu_t vcpu, hv_simd_fp_reg_t reg,
                                    hv_simd_fp_uchar16_t value) {
  return write(vcpu, reg, value);
}

hv_return_t hv_vcpu_get_sys_reg(hv_vcpu_t vcpu, hv_sys_reg_t reg, std::uint64_t* value) {
  return read(vcpu, reg, *value, reg == HV_SYS_REG_CNTV_CTL_EL0 ? Fetch::kRenew : Fetch::kIfNeeded);
}

hv_return_t hv_vcpu_set_sys_reg(hv_vcpu_t vcpu, hv_sys_reg_t reg, std::uint64_t value) {
  const hv_return_t code = write(vcpu, reg, value);
  if (code != HV_SUCCESS || reg != HV_SYS_REG_MPIDR_EL1) {
    return code;
  }
  return process().with_vcpu(vcpu, [](const Vcpu& own, Machine& machine) -> Result<hv_return_t> {
    if (machine.gic != nullptr) {  // Which routes interrupts by it.
      machine.gic->with([&](Gic& gic) {
        gic.set_affinity(own.creation_index, own.registers.identity(HV_SYS_REG_MPIDR_EL1));
        return true;
      });
    }
    return hv_return_t{HV_SUCCESS};
  });
}

hv_return_t hv_vcpu_get_pending_interrupt(hv_vcpu_t vcpu, hv_interrupt_type_t type, bool* pending) {
  if (!is_interrupt(type)) {
    return HV_BAD_ARGUMENT;
  }
  return access(vcpu, [&](Vcpu& own) { *pending = own.pending[type]; });
}

hv_return_t hv_vcpu_set_pending_interrupt(hv_vcpu_t vcpu, hv_interrupt_type_t type, bool pending) {
  if (!is_interrupt(type)) {
    return HV_BAD_ARGUMENT;
  }
  return access(vcpu, [&](Vcpu& own) { own.pending[type] = pending; });
}

hv_return_t hv_vcpu_get_vtimer_mask(hv_vcpu_t vcpu, bool* vtimer_is_masked) {
  return access(vcpu, [&](Vcpu& own) { *vtimer_is_masked = own.timer_masked; });
}

hv_return_t hv_vcpu_set_vtimer_mask(hv_vcpu_t vcpu, bool vtimer_is_masked) {
  return access(vcpu, [&](Vcpu& own) {
    own.timer_masked = vtimer_is_masked;
    own.timer_is_stale = true;
  });
}

hv_return_t hv_vcpu_get_vtimer_offset(hv_vcpu_t vcpu, std::uint64_t* vtimer_offset) {
  return access(vcpu, [&](Vcpu& own) { *vtimer_offset = own.timer_offset; });
}

hv_return_t hv_vcpu_set_vtimer_offset(hv_vcpu_t vcpu, std::uint64_t vtimer_offset) {
  return access(vcpu, [&](Vcpu& own) {
    own.timer_offset = vtimer_offset;
    own.timer_is_stale = true;
  });
}

hv_return_t hv_vcpu_get_trap_debug_exceptions(hv_vcpu_t vcpu, bool* value) {
  return access(vcpu, [&](Vcpu& own) { *value = own.traps_debug_exceptions; });
}

hv_return_t hv_vcpu_set_trap_debug_exceptions(hv_vcpu_t vcpu, bool value) {
  return access(vcpu, [&](Vcpu& own) { own.traps_debug_exceptions = value; });
}

hv_return_t hv_vcpu_get_trap_debug_reg_accesses(hv_vcpu_t vcpu, bool* value) {
  return access(vcpu, [&](Vcpu& own) { *value = own.traps_debug_registers; });
}

hv_return_t hv_vcpu_set_trap_debug_reg_accesses(hv_vcpu_t vcpu, bool value) {
  return access(vcpu, [&](Vcpu& own) { own.traps_debug_registers = value; });
}
