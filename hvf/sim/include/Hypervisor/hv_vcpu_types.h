// Registers, exits and interrupts of a vCPU.
#pragma once

#include <cstdint>

#include <Hypervisor/hv_sys_reg.h>
#include <Hypervisor/hv_types.h>

using hv_vcpu_t = std::uint64_t;  // 0 is a valid one.
using hv_vcpu_config_t = struct hv_vcpu_config_s*;

enum hv_exit_reason_t : std::uint32_t {
  HV_EXIT_REASON_CANCELED = 0,
  HV_EXIT_REASON_EXCEPTION = 1,
  HV_EXIT_REASON_VTIMER_ACTIVATED = 2,  // Also masks the timer.
  HV_EXIT_REASON_UNKNOWN = 3,
};

using hv_exception_syndrome_t = std::uint64_t;  // As ESR_EL2.
using hv_exception_address_t = std::uint64_t;   // As FAR_EL2.

struct hv_vcpu_exit_exception_t {
  hv_exception_syndrome_t syndrome;
  hv_exception_address_t virtual_address;
  hv_ipa_t physical_address;  // With the offset in the page.
};

struct hv_vcpu_exit_t {
  hv_exit_reason_t reason;
  hv_vcpu_exit_exception_t exception;
};

// Passed by value in a vector register.
#if defined(__clang__)
using hv_simd_fp_uchar16_t = std::uint8_t __attribute__((ext_vector_type(16)));
#else
using hv_simd_fp_uchar16_t = std::uint8_t __attribute__((vector_size(16)));
#endif

// 31 is the program counter, not XZR.
enum hv_reg_t : std::uint32_t {
  HV_REG_X0 = 0,
  HV_REG_X1 = 1,
  HV_REG_X2 = 2,
  HV_REG_X3 = 3,
  HV_REG_X4 = 4,
  HV_REG_X5 = 5,
  HV_REG_X6 = 6,
  HV_REG_X7 = 7,
  HV_REG_X8 = 8,
  HV_REG_X9 = 9,
  HV_REG_X10 = 10,
  HV_REG_X11 = 11,
  HV_REG_X12 = 12,
  HV_REG_X13 = 13,
  HV_REG_X14 = 14,
  HV_REG_X15 = 15,
  HV_REG_X16 = 16,
  HV_REG_X17 = 17,
  HV_REG_X18 = 18,
  HV_REG_X19 = 19,
  HV_REG_X20 = 20,
  HV_REG_X21 = 21,
  HV_REG_X22 = 22,
  HV_REG_X23 = 23,
  HV_REG_X24 = 24,
  HV_REG_X25 = 25,
  HV_REG_X26 = 26,
  HV_REG_X27 = 27,
  HV_REG_X28 = 28,
  HV_REG_X29 = 29,
  HV_REG_X30 = 30,
  HV_REG_FP = HV_REG_X29,
  HV_REG_LR = HV_REG_X30,
  HV_REG_PC = 31,
  HV_REG_FPCR = 32,
  HV_REG_FPSR = 33,
  HV_REG_CPSR = 34,
};

enum hv_simd_fp_reg_t : std::uint32_t {
  HV_SIMD_FP_REG_Q0 = 0,
  HV_SIMD_FP_REG_Q1 = 1,
  HV_SIMD_FP_REG_Q2 = 2,
  HV_SIMD_FP_REG_Q3 = 3,
  HV_SIMD_FP_REG_Q4 = 4,
  HV_SIMD_FP_REG_Q5 = 5,
  HV_SIMD_FP_REG_Q6 = 6,
  HV_SIMD_FP_REG_Q7 = 7,
  HV_SIMD_FP_REG_Q8 = 8,
  HV_SIMD_FP_REG_Q9 = 9,
  HV_SIMD_FP_REG_Q10 = 10,
  HV_SIMD_FP_REG_Q11 = 11,
  HV_SIMD_FP_REG_Q12 = 12,
  HV_SIMD_FP_REG_Q13 = 13,
  HV_SIMD_FP_REG_Q14 = 14,
  HV_SIMD_FP_REG_Q15 = 15,
  HV_SIMD_FP_REG_Q16 = 16,
  HV_SIMD_FP_REG_Q17 = 17,
  HV_SIMD_FP_REG_Q18 = 18,
  HV_SIMD_FP_REG_Q19 = 19,
  HV_SIMD_FP_REG_Q20 = 20,
  HV_SIMD_FP_REG_Q21 = 21,
  HV_SIMD_FP_REG_Q22 = 22,
  HV_SIMD_FP_REG_Q23 = 23,
  HV_SIMD_FP_REG_Q24 = 24,
  HV_SIMD_FP_REG_Q25 = 25,
  HV_SIMD_FP_REG_Q26 = 26,
  HV_SIMD_FP_REG_Q27 = 27,
  HV_SIMD_FP_REG_Q28 = 28,
  HV_SIMD_FP_REG_Q29 = 29,
  HV_SIMD_FP_REG_Q30 = 30,
  HV_SIMD_FP_REG_Q31 = 31,
};

enum hv_interrupt_type_t : std::uint32_t {
  HV_INTERRUPT_TYPE_IRQ = 0,
  HV_INTERRUPT_TYPE_FIQ = 1,
};
