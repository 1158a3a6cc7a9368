// hv_vcpu_* and hv_vcpus_exit().
#include <cstddef>

#include <Hypervisor/Hypervisor.h>

#include "hvf/sim/process.h"

using stasis::hvf::sim::Machine;
using stasis::hvf::sim::process;
using stasis::hvf::sim::Vcpu;

namespace {

// Reads or writes something of a vCPU that cannot fail.
template <typename Action>
hv_return_t access(hv_vcpu_t vcpu, const Action& action) {
  return process().with_vcpu(vcpu, [&](Vcpu& own, Machine& /*machine*/) {
    action(own);
    return HV_SUCCESS;
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

// Runs no guest. It returns CANCELED when that was requested, as the framework does without
// entering the guest, and HV_UNSUPPORTED otherwise.
hv_return_t hv_vcpu_run(hv_vcpu_t vcpu) {
  return process().with_vcpu(vcpu, [](Vcpu& own, Machine& /*machine*/) {
    if (!own.cancel_requested) {
      return hv_return_t{HV_UNSUPPORTED};
    }
    own.cancel_requested = false;
    own.pending = {};
    own.exit = {};
    own.exit.reason = HV_EXIT_REASON_CANCELED;
    return hv_return_t{HV_SUCCESS};
  });
}

hv_return_t hv_vcpus_exit(hv_vcpu_t* vcpus, std::uint32_t vcpu_count) {
  return process().vcpus_exit(vcpus, vcpu_count);
}

hv_return_t hv_vcpu_get_reg(hv_vcpu_t vcpu, hv_reg_t reg, std::uint64_t* value) {
  return process().with_vcpu(
      vcpu, [&](Vcpu& own, Machine& /*machine*/) { return own.registers.get(reg, *value); });
}

hv_return_t hv_vcpu_set_reg(hv_vcpu_t vcpu, hv_reg_t reg, std::uint64_t value) {
  return process().with_vcpu(
      vcpu, [&](Vcpu& own, Machine& /*machine*/) { return own.registers.set(reg, value); });
}

hv_return_t hv_vcpu_get_simd_fp_reg(hv_vcpu_t vcpu, hv_simd_fp_reg_t reg,
                                    hv_simd_fp_uchar16_t* value) {
  return process().with_vcpu(
      vcpu, [&](Vcpu& own, Machine& /*machine*/) { return own.registers.get(reg, *value); });
}

hv_return_t hv_vcpu_set_simd_fp_reg(hv_vcpu_t vcpu, hv_simd_fp_reg_t reg,
                                    hv_simd_fp_uchar16_t value) {
  return process().with_vcpu(
      vcpu, [&](Vcpu& own, Machine& /*machine*/) { return own.registers.set(reg, value); });
}

hv_return_t hv_vcpu_get_sys_reg(hv_vcpu_t vcpu, hv_sys_reg_t reg, std::uint64_t* value) {
  return process().with_vcpu(
      vcpu, [&](Vcpu& own, Machine& /*machine*/) { return own.registers.get(reg, *value); });
}

hv_return_t hv_vcpu_set_sys_reg(hv_vcpu_t vcpu, hv_sys_reg_t reg, std::uint64_t value) {
  return process().with_vcpu(
      vcpu, [&](Vcpu& own, Machine& /*machine*/) { return own.registers.set(reg, value); });
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
  return access(vcpu, [&](Vcpu& own) { own.timer_masked = vtimer_is_masked; });
}

hv_return_t hv_vcpu_get_vtimer_offset(hv_vcpu_t vcpu, std::uint64_t* vtimer_offset) {
  return access(vcpu, [&](Vcpu& own) { *vtimer_offset = own.timer_offset; });
}

hv_return_t hv_vcpu_set_vtimer_offset(hv_vcpu_t vcpu, std::uint64_t vtimer_offset) {
  return access(vcpu, [&](Vcpu& own) { own.timer_offset = vtimer_offset; });
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
