// The system registers that a PE keeps for its guest, in the order in which they are written: the
// number of a register is its place here. A list for the preprocessor, because the monitor needs an
// instruction of its own for each. Encodings as in hvf/register_table.h.
//
// Not here, and kept by the host alone: what QEMU does not implement or holds constant (ACTLR_EL1,
// AFSR0_EL1, AFSR1_EL1, AMAIR_EL1, MDCCINT_EL1, SME), and the identity registers, whose reads by a
// guest the host answers.
#pragma once

#define STASIS_SIM_DEBUG_REGISTERS(X, n) \
  X(0x8004 + 8 * (n)) X(0x8005 + 8 * (n)) X(0x8006 + 8 * (n)) X(0x8007 + 8 * (n))

// clang-format off
#define STASIS_SIM_STATE_REGISTERS(X)                                                          \
  X(0xe000) /* VPIDR_EL2, the guest's MIDR_EL1 */ X(0xe005) /* VMPIDR_EL2, its MPIDR_EL1 */    \
  X(0xc208) /* SP_EL0 */ X(0xe208) /* SP_EL1 */ X(0xc201) /* ELR_EL1 */ X(0xc200) /* SPSR_EL1 */ \
  X(0xc082) /* CPACR_EL1 */ X(0xc100) /* TTBR0_EL1 */ X(0xc101) /* TTBR1_EL1 */                \
  X(0xc102) /* TCR_EL1 */ X(0xc510) /* MAIR_EL1 */ X(0xc080) /* SCTLR_EL1 */                   \
  X(0xc600) /* VBAR_EL1 */ X(0xc290) /* ESR_EL1 */ X(0xc300) /* FAR_EL1 */                     \
  X(0xc3a0) /* PAR_EL1 */ X(0xc681) /* CONTEXTIDR_EL1 */ X(0xde82) /* TPIDR_EL0 */             \
  X(0xde83) /* TPIDRRO_EL0 */ X(0xc684) /* TPIDR_EL1 */ X(0xc687) /* SCXTNUM_EL1 */            \
  X(0xde87) /* SCXTNUM_EL0 */ X(0xd000) /* CSSELR_EL1 */ X(0xc708) /* CNTKCTL_EL1 */           \
  X(0x8012) /* MDSCR_EL1 */                                                                    \
  X(0xc108) X(0xc109) X(0xc10a) X(0xc10b) X(0xc110) X(0xc111) /* AP*KEY*_EL1 */                \
  X(0xc112) X(0xc113) X(0xc118) X(0xc119)                                                      \
  STASIS_SIM_DEBUG_REGISTERS(X, 0) STASIS_SIM_DEBUG_REGISTERS(X, 1)                            \
  STASIS_SIM_DEBUG_REGISTERS(X, 2) STASIS_SIM_DEBUG_REGISTERS(X, 3)                            \
  STASIS_SIM_DEBUG_REGISTERS(X, 4) STASIS_SIM_DEBUG_REGISTERS(X, 5)                            \
  STASIS_SIM_DEBUG_REGISTERS(X, 6) STASIS_SIM_DEBUG_REGISTERS(X, 7)                            \
  STASIS_SIM_DEBUG_REGISTERS(X, 8) STASIS_SIM_DEBUG_REGISTERS(X, 9)                            \
  STASIS_SIM_DEBUG_REGISTERS(X, 10) STASIS_SIM_DEBUG_REGISTERS(X, 11)                          \
  STASIS_SIM_DEBUG_REGISTERS(X, 12) STASIS_SIM_DEBUG_REGISTERS(X, 13)                          \
  STASIS_SIM_DEBUG_REGISTERS(X, 14) STASIS_SIM_DEBUG_REGISTERS(X, 15)                          \
  X(0xdf1a) /* CNTV_CVAL_EL0 */ X(0xdf19) /* CNTV_CTL_EL0, which can start the timer */

// Read only: what the PE is, for the identity of a fresh vCPU.
#define STASIS_SIM_IDENTITY_REGISTERS(X)                                                       \
  X(0xc000) /* MIDR_EL1 */                                                                     \
  X(0xc020) X(0xc021) X(0xc024) X(0xc025) /* ID_AA64PFR0, PFR1, ZFR0, SMFR0_EL1 */             \
  X(0xc028) X(0xc029) X(0xc030) X(0xc031) /* ID_AA64DFR0, DFR1, ISAR0, ISAR1_EL1 */            \
  X(0xc038) X(0xc039) X(0xc03a) /* ID_AA64MMFR0, MMFR1, MMFR2_EL1 */
// clang-format on
