// The numbers of <Hypervisor/Hypervisor.h>, each held against its source: the architecture's
// manuals where the framework takes them over (Arm DDI 0487 D24 for MRS encodings, IHI 0069 12 for
// the GIC), Apple's documentation otherwise. Where the framework itself exists, this holds Apple's
// header against them. Most of it fails at compile time.
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <Hypervisor/Hypervisor.h>
#include <gtest/gtest.h>

// Names of macOS 15.2 are only compared here, not used.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wunguarded-availability-new"
#endif

namespace stasis::hvf {
namespace {

constexpr unsigned mrs(unsigned op0, unsigned op1, unsigned crn, unsigned crm, unsigned op2) {
  return (op0 << 14U) | (op1 << 11U) | (crn << 7U) | (crm << 3U) | op2;
}

// Return codes: err_local is err_system(0x3e), the framework's subsystem 0xba5 (mach/error.h).
constexpr std::uint32_t error_code(std::uint32_t code) {
  return (0x3eU << 26U) | (0xba5U << 14U) | code;
}
static_assert(HV_SUCCESS == 0);
static_assert(static_cast<std::uint32_t>(HV_ERROR) == error_code(1));
static_assert(static_cast<std::uint32_t>(HV_BUSY) == error_code(2));
static_assert(static_cast<std::uint32_t>(HV_BAD_ARGUMENT) == error_code(3));
static_assert(static_cast<std::uint32_t>(HV_ILLEGAL_GUEST_STATE) == error_code(4));
static_assert(static_cast<std::uint32_t>(HV_NO_RESOURCES) == error_code(5));
static_assert(static_cast<std::uint32_t>(HV_NO_DEVICE) == error_code(6));
static_assert(static_cast<std::uint32_t>(HV_DENIED) == error_code(7));
static_assert(static_cast<std::uint32_t>(HV_UNSUPPORTED) == error_code(15));

// Widths are part of the binary interface.
static_assert(sizeof(hv_return_t) == 4 && std::is_signed_v<hv_return_t>);
static_assert(sizeof(hv_vcpu_t) == 8 && sizeof(hv_ipa_t) == 8 && sizeof(hv_memory_flags_t) == 8);
static_assert(sizeof(hv_reg_t) == 4 && sizeof(hv_simd_fp_reg_t) == 4 && sizeof(hv_sys_reg_t) == 2);
static_assert(sizeof(hv_interrupt_type_t) == 4 && sizeof(hv_exit_reason_t) == 4);
static_assert(sizeof(hv_gic_distributor_reg_t) == 2 && sizeof(hv_gic_redistributor_reg_t) == 4);
static_assert(sizeof(hv_gic_icc_reg_t) == 2 && sizeof(hv_gic_intid_t) == 2);
static_assert(sizeof(hv_simd_fp_uchar16_t) == 16 && alignof(hv_simd_fp_uchar16_t) == 16);

static_assert(sizeof(hv_vcpu_exit_t) == 32 && offsetof(hv_vcpu_exit_t, reason) == 0);
static_assert(offsetof(hv_vcpu_exit_t, exception) == 8);
static_assert(offsetof(hv_vcpu_exit_exception_t, syndrome) == 0);
static_assert(offsetof(hv_vcpu_exit_exception_t, virtual_address) == 8);
static_assert(offsetof(hv_vcpu_exit_exception_t, physical_address) == 16);

static_assert(HV_MEMORY_READ == 1 && HV_MEMORY_WRITE == 2 && HV_MEMORY_EXEC == 4);
static_assert(HV_EXIT_REASON_CANCELED == 0 && HV_EXIT_REASON_EXCEPTION == 1);
static_assert(HV_EXIT_REASON_VTIMER_ACTIVATED == 2 && HV_EXIT_REASON_UNKNOWN == 3);
static_assert(HV_INTERRUPT_TYPE_IRQ == 0 && HV_INTERRUPT_TYPE_FIQ == 1);
static_assert(HV_REG_X0 == 0 && HV_REG_X1 == 1 && HV_REG_X15 == 15 && HV_REG_X30 == 30);
static_assert(HV_REG_FP == 29 && HV_REG_LR == 30 && HV_REG_PC == 31);
static_assert(HV_REG_FPCR == 32 && HV_REG_FPSR == 33 && HV_REG_CPSR == 34);
static_assert(HV_SIMD_FP_REG_Q0 == 0 && HV_SIMD_FP_REG_Q16 == 16 && HV_SIMD_FP_REG_Q31 == 31);

static_assert(HV_SYS_REG_DBGBVR0_EL1 == mrs(2, 0, 0, 0, 4) &&
              HV_SYS_REG_DBGBCR0_EL1 == mrs(2, 0, 0, 0, 5));
static_assert(HV_SYS_REG_DBGWVR0_EL1 == mrs(2, 0, 0, 0, 6) &&
              HV_SYS_REG_DBGWCR0_EL1 == mrs(2, 0, 0, 0, 7));
static_assert(HV_SYS_REG_DBGBVR1_EL1 == mrs(2, 0, 0, 1, 4) &&
              HV_SYS_REG_DBGBCR1_EL1 == mrs(2, 0, 0, 1, 5));
static_assert(HV_SYS_REG_DBGWVR1_EL1 == mrs(2, 0, 0, 1, 6) &&
              HV_SYS_REG_DBGWCR1_EL1 == mrs(2, 0, 0, 1, 7));
static_assert(HV_SYS_REG_DBGBVR2_EL1 == mrs(2, 0, 0, 2, 4) &&
              HV_SYS_REG_DBGBCR2_EL1 == mrs(2, 0, 0, 2, 5));
static_assert(HV_SYS_REG_DBGWVR2_EL1 == mrs(2, 0, 0, 2, 6) &&
              HV_SYS_REG_DBGWCR2_EL1 == mrs(2, 0, 0, 2, 7));
static_assert(HV_SYS_REG_DBGBVR3_EL1 == mrs(2, 0, 0, 3, 4) &&
              HV_SYS_REG_DBGBCR3_EL1 == mrs(2, 0, 0, 3, 5));
static_assert(HV_SYS_REG_DBGWVR3_EL1 == mrs(2, 0, 0, 3, 6) &&
              HV_SYS_REG_DBGWCR3_EL1 == mrs(2, 0, 0, 3, 7));
static_assert(HV_SYS_REG_DBGBVR4_EL1 == mrs(2, 0, 0, 4, 4) &&
              HV_SYS_REG_DBGBCR4_EL1 == mrs(2, 0, 0, 4, 5));
static_assert(HV_SYS_REG_DBGWVR4_EL1 == mrs(2, 0, 0, 4, 6) &&
              HV_SYS_REG_DBGWCR4_EL1 == mrs(2, 0, 0, 4, 7));
static_assert(HV_SYS_REG_DBGBVR5_EL1 == mrs(2, 0, 0, 5, 4) &&
              HV_SYS_REG_DBGBCR5_EL1 == mrs(2, 0, 0, 5, 5));
static_assert(HV_SYS_REG_DBGWVR5_EL1 == mrs(2, 0, 0, 5, 6) &&
              HV_SYS_REG_DBGWCR5_EL1 == mrs(2, 0, 0, 5, 7));
static_assert(HV_SYS_REG_DBGBVR6_EL1 == mrs(2, 0, 0, 6, 4) &&
              HV_SYS_REG_DBGBCR6_EL1 == mrs(2, 0, 0, 6, 5));
static_assert(HV_SYS_REG_DBGWVR6_EL1 == mrs(2, 0, 0, 6, 6) &&
              HV_SYS_REG_DBGWCR6_EL1 == mrs(2, 0, 0, 6, 7));
static_assert(HV_SYS_REG_DBGBVR7_EL1 == mrs(2, 0, 0, 7, 4) &&
              HV_SYS_REG_DBGBCR7_EL1 == mrs(2, 0, 0, 7, 5));
static_assert(HV_SYS_REG_DBGWVR7_EL1 == mrs(2, 0, 0, 7, 6) &&
              HV_SYS_REG_DBGWCR7_EL1 == mrs(2, 0, 0, 7, 7));
static_assert(HV_SYS_REG_DBGBVR8_EL1 == mrs(2, 0, 0, 8, 4) &&
              HV_SYS_REG_DBGBCR8_EL1 == mrs(2, 0, 0, 8, 5));
static_assert(HV_SYS_REG_DBGWVR8_EL1 == mrs(2, 0, 0, 8, 6) &&
              HV_SYS_REG_DBGWCR8_EL1 == mrs(2, 0, 0, 8, 7));
static_assert(HV_SYS_REG_DBGBVR9_EL1 == mrs(2, 0, 0, 9, 4) &&
              HV_SYS_REG_DBGBCR9_EL1 == mrs(2, 0, 0, 9, 5));
static_assert(HV_SYS_REG_DBGWVR9_EL1 == mrs(2, 0, 0, 9, 6) &&
              HV_SYS_REG_DBGWCR9_EL1 == mrs(2, 0, 0, 9, 7));
static_assert(HV_SYS_REG_DBGBVR10_EL1 == mrs(2, 0, 0, 10, 4) &&
              HV_SYS_REG_DBGBCR10_EL1 == mrs(2, 0, 0, 10, 5));
static_assert(HV_SYS_REG_DBGWVR10_EL1 == mrs(2, 0, 0, 10, 6) &&
              HV_SYS_REG_DBGWCR10_EL1 == mrs(2, 0, 0, 10, 7));
static_assert(HV_SYS_REG_DBGBVR11_EL1 == mrs(2, 0, 0, 11, 4) &&
              HV_SYS_REG_DBGBCR11_EL1 == mrs(2, 0, 0, 11, 5));
static_assert(HV_SYS_REG_DBGWVR11_EL1 == mrs(2, 0, 0, 11, 6) &&
              HV_SYS_REG_DBGWCR11_EL1 == mrs(2, 0, 0, 11, 7));
static_assert(HV_SYS_REG_DBGBVR12_EL1 == mrs(2, 0, 0, 12, 4) &&
              HV_SYS_REG_DBGBCR12_EL1 == mrs(2, 0, 0, 12, 5));
static_assert(HV_SYS_REG_DBGWVR12_EL1 == mrs(2, 0, 0, 12, 6) &&
              HV_SYS_REG_DBGWCR12_EL1 == mrs(2, 0, 0, 12, 7));
static_assert(HV_SYS_REG_DBGBVR13_EL1 == mrs(2, 0, 0, 13, 4) &&
              HV_SYS_REG_DBGBCR13_EL1 == mrs(2, 0, 0, 13, 5));
static_assert(HV_SYS_REG_DBGWVR13_EL1 == mrs(2, 0, 0, 13, 6) &&
              HV_SYS_REG_DBGWCR13_EL1 == mrs(2, 0, 0, 13, 7));
static_assert(HV_SYS_REG_DBGBVR14_EL1 == mrs(2, 0, 0, 14, 4) &&
              HV_SYS_REG_DBGBCR14_EL1 == mrs(2, 0, 0, 14, 5));
static_assert(HV_SYS_REG_DBGWVR14_EL1 == mrs(2, 0, 0, 14, 6) &&
              HV_SYS_REG_DBGWCR14_EL1 == mrs(2, 0, 0, 14, 7));
static_assert(HV_SYS_REG_DBGBVR15_EL1 == mrs(2, 0, 0, 15, 4) &&
              HV_SYS_REG_DBGBCR15_EL1 == mrs(2, 0, 0, 15, 5));
static_assert(HV_SYS_REG_DBGWVR15_EL1 == mrs(2, 0, 0, 15, 6) &&
              HV_SYS_REG_DBGWCR15_EL1 == mrs(2, 0, 0, 15, 7));
static_assert(HV_SYS_REG_MDCCINT_EL1 == mrs(2, 0, 0, 2, 0));
static_assert(HV_SYS_REG_MDSCR_EL1 == mrs(2, 0, 0, 2, 2));
static_assert(HV_SYS_REG_MIDR_EL1 == mrs(3, 0, 0, 0, 0));
static_assert(HV_SYS_REG_MPIDR_EL1 == mrs(3, 0, 0, 0, 5));
static_assert(HV_SYS_REG_ID_AA64PFR0_EL1 == mrs(3, 0, 0, 4, 0));
static_assert(HV_SYS_REG_ID_AA64PFR1_EL1 == mrs(3, 0, 0, 4, 1));
static_assert(HV_SYS_REG_ID_AA64ZFR0_EL1 == mrs(3, 0, 0, 4, 4));
static_assert(HV_SYS_REG_ID_AA64SMFR0_EL1 == mrs(3, 0, 0, 4, 5));
static_assert(HV_SYS_REG_ID_AA64DFR0_EL1 == mrs(3, 0, 0, 5, 0));
static_assert(HV_SYS_REG_ID_AA64DFR1_EL1 == mrs(3, 0, 0, 5, 1));
static_assert(HV_SYS_REG_ID_AA64ISAR0_EL1 == mrs(3, 0, 0, 6, 0));
static_assert(HV_SYS_REG_ID_AA64ISAR1_EL1 == mrs(3, 0, 0, 6, 1));
static_assert(HV_SYS_REG_ID_AA64MMFR0_EL1 == mrs(3, 0, 0, 7, 0));
static_assert(HV_SYS_REG_ID_AA64MMFR1_EL1 == mrs(3, 0, 0, 7, 1));
static_assert(HV_SYS_REG_ID_AA64MMFR2_EL1 == mrs(3, 0, 0, 7, 2));
static_assert(HV_SYS_REG_SCTLR_EL1 == mrs(3, 0, 1, 0, 0));
static_assert(HV_SYS_REG_ACTLR_EL1 == mrs(3, 0, 1, 0, 1));
static_assert(HV_SYS_REG_CPACR_EL1 == mrs(3, 0, 1, 0, 2));
static_assert(HV_SYS_REG_SMPRI_EL1 == mrs(3, 0, 1, 2, 4));
static_assert(HV_SYS_REG_SMCR_EL1 == mrs(3, 0, 1, 2, 6));
static_assert(HV_SYS_REG_TTBR0_EL1 == mrs(3, 0, 2, 0, 0));
static_assert(HV_SYS_REG_TTBR1_EL1 == mrs(3, 0, 2, 0, 1));
static_assert(HV_SYS_REG_TCR_EL1 == mrs(3, 0, 2, 0, 2));
static_assert(HV_SYS_REG_APIAKEYLO_EL1 == mrs(3, 0, 2, 1, 0));
static_assert(HV_SYS_REG_APIAKEYHI_EL1 == mrs(3, 0, 2, 1, 1));
static_assert(HV_SYS_REG_APIBKEYLO_EL1 == mrs(3, 0, 2, 1, 2));
static_assert(HV_SYS_REG_APIBKEYHI_EL1 == mrs(3, 0, 2, 1, 3));
static_assert(HV_SYS_REG_APDAKEYLO_EL1 == mrs(3, 0, 2, 2, 0));
static_assert(HV_SYS_REG_APDAKEYHI_EL1 == mrs(3, 0, 2, 2, 1));
static_assert(HV_SYS_REG_APDBKEYLO_EL1 == mrs(3, 0, 2, 2, 2));
static_assert(HV_SYS_REG_APDBKEYHI_EL1 == mrs(3, 0, 2, 2, 3));
static_assert(HV_SYS_REG_APGAKEYLO_EL1 == mrs(3, 0, 2, 3, 0));
static_assert(HV_SYS_REG_APGAKEYHI_EL1 == mrs(3, 0, 2, 3, 1));
static_assert(HV_SYS_REG_SPSR_EL1 == mrs(3, 0, 4, 0, 0));
static_assert(HV_SYS_REG_ELR_EL1 == mrs(3, 0, 4, 0, 1));
static_assert(HV_SYS_REG_SP_EL0 == mrs(3, 0, 4, 1, 0));
static_assert(HV_SYS_REG_AFSR0_EL1 == mrs(3, 0, 5, 1, 0));
static_assert(HV_SYS_REG_AFSR1_EL1 == mrs(3, 0, 5, 1, 1));
static_assert(HV_SYS_REG_ESR_EL1 == mrs(3, 0, 5, 2, 0));
static_assert(HV_SYS_REG_FAR_EL1 == mrs(3, 0, 6, 0, 0));
static_assert(HV_SYS_REG_PAR_EL1 == mrs(3, 0, 7, 4, 0));
static_assert(HV_SYS_REG_MAIR_EL1 == mrs(3, 0, 10, 2, 0));
static_assert(HV_SYS_REG_AMAIR_EL1 == mrs(3, 0, 10, 3, 0));
static_assert(HV_SYS_REG_VBAR_EL1 == mrs(3, 0, 12, 0, 0));
static_assert(HV_SYS_REG_CONTEXTIDR_EL1 == mrs(3, 0, 13, 0, 1));
static_assert(HV_SYS_REG_TPIDR_EL1 == mrs(3, 0, 13, 0, 4));
static_assert(HV_SYS_REG_SCXTNUM_EL1 == mrs(3, 0, 13, 0, 7));
static_assert(HV_SYS_REG_CNTKCTL_EL1 == mrs(3, 0, 14, 1, 0));
static_assert(HV_SYS_REG_CSSELR_EL1 == mrs(3, 2, 0, 0, 0));
static_assert(HV_SYS_REG_TPIDR_EL0 == mrs(3, 3, 13, 0, 2));
static_assert(HV_SYS_REG_TPIDRRO_EL0 == mrs(3, 3, 13, 0, 3));
static_assert(HV_SYS_REG_TPIDR2_EL0 == mrs(3, 3, 13, 0, 5));
static_assert(HV_SYS_REG_SCXTNUM_EL0 == mrs(3, 3, 13, 0, 7));
static_assert(HV_SYS_REG_CNTP_TVAL_EL0 == mrs(3, 3, 14, 2, 0));
static_assert(HV_SYS_REG_CNTP_CTL_EL0 == mrs(3, 3, 14, 2, 1));
static_assert(HV_SYS_REG_CNTP_CVAL_EL0 == mrs(3, 3, 14, 2, 2));
static_assert(HV_SYS_REG_CNTV_CTL_EL0 == mrs(3, 3, 14, 3, 1));
static_assert(HV_SYS_REG_CNTV_CVAL_EL0 == mrs(3, 3, 14, 3, 2));
static_assert(HV_SYS_REG_SP_EL1 == mrs(3, 4, 4, 1, 0));

// ICC_*_EL1, IHI 0069 12.2.
static_assert(HV_GIC_ICC_REG_PMR_EL1 == mrs(3, 0, 4, 6, 0));
static_assert(HV_GIC_ICC_REG_BPR0_EL1 == mrs(3, 0, 12, 8, 3));
static_assert(HV_GIC_ICC_REG_AP0R0_EL1 == mrs(3, 0, 12, 8, 4));
static_assert(HV_GIC_ICC_REG_AP1R0_EL1 == mrs(3, 0, 12, 9, 0));
static_assert(HV_GIC_ICC_REG_RPR_EL1 == mrs(3, 0, 12, 11, 3));
static_assert(HV_GIC_ICC_REG_BPR1_EL1 == mrs(3, 0, 12, 12, 3));
static_assert(HV_GIC_ICC_REG_CTLR_EL1 == mrs(3, 0, 12, 12, 4));
static_assert(HV_GIC_ICC_REG_SRE_EL1 == mrs(3, 0, 12, 12, 5));
static_assert(HV_GIC_ICC_REG_IGRPEN0_EL1 == mrs(3, 0, 12, 12, 6));
static_assert(HV_GIC_ICC_REG_IGRPEN1_EL1 == mrs(3, 0, 12, 12, 7));

// Offsets of IHI 0069 12.8 (distributor) and 12.10, 12.11 (redistributor, SGI frame at 0x10000).
static_assert(HV_GIC_DISTRIBUTOR_REG_GICD_CTLR == 0x0 && HV_GIC_DISTRIBUTOR_REG_GICD_TYPER == 0x4);
static_assert(HV_GIC_DISTRIBUTOR_REG_GICD_IGROUPR0 == 0x80);
static_assert(HV_GIC_DISTRIBUTOR_REG_GICD_ISENABLER0 == 0x100);
static_assert(HV_GIC_DISTRIBUTOR_REG_GICD_ICENABLER0 == 0x180);
static_assert(HV_GIC_DISTRIBUTOR_REG_GICD_ISPENDR0 == 0x200);
static_assert(HV_GIC_DISTRIBUTOR_REG_GICD_ICPENDR0 == 0x280);
static_assert(HV_GIC_DISTRIBUTOR_REG_GICD_ISACTIVER0 == 0x300);
static_assert(HV_GIC_DISTRIBUTOR_REG_GICD_ICACTIVER0 == 0x380);
static_assert(HV_GIC_DISTRIBUTOR_REG_GICD_IPRIORITYR0 == 0x400);
static_assert(HV_GIC_DISTRIBUTOR_REG_GICD_ICFGR0 == 0xc00);
static_assert(HV_GIC_DISTRIBUTOR_REG_GICD_IROUTER32 == 0x6000 + 8 * 32);
static_assert(HV_GIC_DISTRIBUTOR_REG_GICD_PIDR2 == 0xffe8);
constexpr unsigned kSgiFrame = 0x10000;
static_assert(HV_GIC_REDISTRIBUTOR_REG_GICR_TYPER == 0x8);
static_assert(HV_GIC_REDISTRIBUTOR_REG_GICR_PIDR2 == 0xffe8);
static_assert(HV_GIC_REDISTRIBUTOR_REG_GICR_IGROUPR0 == kSgiFrame + 0x80);
static_assert(HV_GIC_REDISTRIBUTOR_REG_GICR_ISENABLER0 == kSgiFrame + 0x100);
static_assert(HV_GIC_REDISTRIBUTOR_REG_GICR_ICENABLER0 == kSgiFrame + 0x180);
static_assert(HV_GIC_REDISTRIBUTOR_REG_GICR_ISPENDR0 == kSgiFrame + 0x200);
static_assert(HV_GIC_REDISTRIBUTOR_REG_GICR_ICPENDR0 == kSgiFrame + 0x280);
static_assert(HV_GIC_REDISTRIBUTOR_REG_GICR_ISACTIVER0 == kSgiFrame + 0x300);
static_assert(HV_GIC_REDISTRIBUTOR_REG_GICR_ICACTIVER0 == kSgiFrame + 0x380);
static_assert(HV_GIC_REDISTRIBUTOR_REG_GICR_IPRIORITYR0 == kSgiFrame + 0x400);
static_assert(HV_GIC_REDISTRIBUTOR_REG_GICR_ICFGR0 == kSgiFrame + 0xc00);
static_assert(HV_GIC_REDISTRIBUTOR_REG_GICR_ICFGR1 == kSgiFrame + 0xc04);

// PPI n is INTID 16 + n; the numbers of Arm's Base System Architecture.
static_assert(HV_GIC_INT_PERFORMANCE_MONITOR == 16 + 7 && HV_GIC_INT_MAINTENANCE == 16 + 9);
static_assert(HV_GIC_INT_EL2_PHYSICAL_TIMER == 16 + 10 && HV_GIC_INT_EL1_VIRTUAL_TIMER == 16 + 11);
static_assert(HV_GIC_INT_EL1_PHYSICAL_TIMER == 16 + 14);

TEST(FrameworkHeaderTest, AVectorRegisterHoldsItsBytesInOrder) {
  // Byte 0 is bits [7:0] of Q; the backend copies low half, then high half.
  hv_simd_fp_uchar16_t value = {};
  for (std::uint8_t i = 0; i < 16; ++i) {
    value[i] = i;
  }
  std::uint64_t halves[2] = {};
  static_assert(sizeof(halves) == sizeof(value));
  __builtin_memcpy(halves, &value, sizeof(value));
  EXPECT_EQ(halves[0], 0x0706050403020100U);
  EXPECT_EQ(halves[1], 0x0f0e0d0c0b0a0908U);
}

}  // namespace
}  // namespace stasis::hvf
