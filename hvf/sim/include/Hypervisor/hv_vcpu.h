// Virtual processors. Every call but hv_vcpus_exit() belongs to the thread that created the vCPU.
#pragma once

#include <cstdint>

#include <Hypervisor/hv_types.h>
#include <Hypervisor/hv_vcpu_types.h>

extern "C" {

// The exit information stays at *exit until the vCPU is destroyed. `config` may be nullptr.
hv_return_t hv_vcpu_create(hv_vcpu_t* vcpu, hv_vcpu_exit_t** exit, hv_vcpu_config_t config);
hv_return_t hv_vcpu_destroy(hv_vcpu_t vcpu);
hv_return_t hv_vcpu_run(hv_vcpu_t vcpu);
// Any thread. One that is not running leaves its next hv_vcpu_run() at once.
hv_return_t hv_vcpus_exit(hv_vcpu_t* vcpus, std::uint32_t vcpu_count);

hv_return_t hv_vcpu_get_reg(hv_vcpu_t vcpu, hv_reg_t reg, std::uint64_t* value);
hv_return_t hv_vcpu_set_reg(hv_vcpu_t vcpu, hv_reg_t reg, std::uint64_t value);
hv_return_t hv_vcpu_get_simd_fp_reg(hv_vcpu_t vcpu, hv_simd_fp_reg_t reg,
                                    hv_simd_fp_uchar16_t* value);
hv_return_t hv_vcpu_set_simd_fp_reg(hv_vcpu_t vcpu, hv_simd_fp_reg_t reg,
                                    hv_simd_fp_uchar16_t value);
hv_return_t hv_vcpu_get_sys_reg(hv_vcpu_t vcpu, hv_sys_reg_t reg, std::uint64_t* value);
hv_return_t hv_vcpu_set_sys_reg(hv_vcpu_t vcpu, hv_sys_reg_t reg, std::uint64_t value);

// Cleared by every hv_vcpu_run().
hv_return_t hv_vcpu_get_pending_interrupt(hv_vcpu_t vcpu, hv_interrupt_type_t type, bool* pending);
hv_return_t hv_vcpu_set_pending_interrupt(hv_vcpu_t vcpu, hv_interrupt_type_t type, bool pending);

hv_return_t hv_vcpu_get_vtimer_mask(hv_vcpu_t vcpu, bool* vtimer_is_masked);
hv_return_t hv_vcpu_set_vtimer_mask(hv_vcpu_t vcpu, bool vtimer_is_masked);
// CNTVCT_EL0 = mach_absolute_time() - offset.
hv_return_t hv_vcpu_get_vtimer_offset(hv_vcpu_t vcpu, std::uint64_t* vtimer_offset);
hv_return_t hv_vcpu_set_vtimer_offset(hv_vcpu_t vcpu, std::uint64_t vtimer_offset);

hv_return_t hv_vcpu_get_trap_debug_exceptions(hv_vcpu_t vcpu, bool* value);
hv_return_t hv_vcpu_set_trap_debug_exceptions(hv_vcpu_t vcpu, bool value);
hv_return_t hv_vcpu_get_trap_debug_reg_accesses(hv_vcpu_t vcpu, bool* value);
hv_return_t hv_vcpu_set_trap_debug_reg_accesses(hv_vcpu_t vcpu, bool value);

}  // extern "C"
