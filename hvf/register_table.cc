#include "hvf/register_table.h"

#include <algorithm>
#include <array>

namespace stasis::hvf {
namespace {

using enum RegisterRole;

// Debug registers: how many of 16 exist is in ID_AA64DFR0_EL1. MDCCINT_EL1: macOS 26 traps a
// guest's access to it, so a host may refuse ours. SMCR_EL1, SMPRI_EL1 and TPIDR2_EL0 are here
// although the vectors and matrices of SME are not: a guest to which SME is shown must not be
// saved.
constexpr auto kSystemRegisters = std::to_array<SystemRegister>({
    {0x8004, "DBGBVR0_EL1", kStateIfPresent},
    {0x8005, "DBGBCR0_EL1", kStateIfPresent},
    {0x8006, "DBGWVR0_EL1", kStateIfPresent},
    {0x8007, "DBGWCR0_EL1", kStateIfPresent},
    {0x800c, "DBGBVR1_EL1", kStateIfPresent},
    {0x800d, "DBGBCR1_EL1", kStateIfPresent},
    {0x800e, "DBGWVR1_EL1", kStateIfPresent},
    {0x800f, "DBGWCR1_EL1", kStateIfPresent},
    {0x8010, "MDCCINT_EL1", kStateIfPresent},
    {0x8012, "MDSCR_EL1", kState},
    {0x8014, "DBGBVR2_EL1", kStateIfPresent},
    {0x8015, "DBGBCR2_EL1", kStateIfPresent},
    {0x8016, "DBGWVR2_EL1", kStateIfPresent},
    {0x8017, "DBGWCR2_EL1", kStateIfPresent},
    {0x801c, "DBGBVR3_EL1", kStateIfPresent},
    {0x801d, "DBGBCR3_EL1", kStateIfPresent},
    {0x801e, "DBGWVR3_EL1", kStateIfPresent},
    {0x801f, "DBGWCR3_EL1", kStateIfPresent},
    {0x8024, "DBGBVR4_EL1", kStateIfPresent},
    {0x8025, "DBGBCR4_EL1", kStateIfPresent},
    {0x8026, "DBGWVR4_EL1", kStateIfPresent},
    {0x8027, "DBGWCR4_EL1", kStateIfPresent},
    {0x802c, "DBGBVR5_EL1", kStateIfPresent},
    {0x802d, "DBGBCR5_EL1", kStateIfPresent},
    {0x802e, "DBGWVR5_EL1", kStateIfPresent},
    {0x802f, "DBGWCR5_EL1", kStateIfPresent},
    {0x8034, "DBGBVR6_EL1", kStateIfPresent},
    {0x8035, "DBGBCR6_EL1", kStateIfPresent},
    {0x8036, "DBGWVR6_EL1", kStateIfPresent},
    {0x8037, "DBGWCR6_EL1", kStateIfPresent},
    {0x803c, "DBGBVR7_EL1", kStateIfPresent},
    {0x803d, "DBGBCR7_EL1", kStateIfPresent},
    {0x803e, "DBGWVR7_EL1", kStateIfPresent},
    {0x803f, "DBGWCR7_EL1", kStateIfPresent},
    {0x8044, "DBGBVR8_EL1", kStateIfPresent},
    {0x8045, "DBGBCR8_EL1", kStateIfPresent},
    {0x8046, "DBGWVR8_EL1", kStateIfPresent},
    {0x8047, "DBGWCR8_EL1", kStateIfPresent},
    {0x804c, "DBGBVR9_EL1", kStateIfPresent},
    {0x804d, "DBGBCR9_EL1", kStateIfPresent},
    {0x804e, "DBGWVR9_EL1", kStateIfPresent},
    {0x804f, "DBGWCR9_EL1", kStateIfPresent},
    {0x8054, "DBGBVR10_EL1", kStateIfPresent},
    {0x8055, "DBGBCR10_EL1", kStateIfPresent},
    {0x8056, "DBGWVR10_EL1", kStateIfPresent},
    {0x8057, "DBGWCR10_EL1", kStateIfPresent},
    {0x805c, "DBGBVR11_EL1", kStateIfPresent},
    {0x805d, "DBGBCR11_EL1", kStateIfPresent},
    {0x805e, "DBGWVR11_EL1", kStateIfPresent},
    {0x805f, "DBGWCR11_EL1", kStateIfPresent},
    {0x8064, "DBGBVR12_EL1", kStateIfPresent},
    {0x8065, "DBGBCR12_EL1", kStateIfPresent},
    {0x8066, "DBGWVR12_EL1", kStateIfPresent},
    {0x8067, "DBGWCR12_EL1", kStateIfPresent},
    {0x806c, "DBGBVR13_EL1", kStateIfPresent},
    {0x806d, "DBGBCR13_EL1", kStateIfPresent},
    {0x806e, "DBGWVR13_EL1", kStateIfPresent},
    {0x806f, "DBGWCR13_EL1", kStateIfPresent},
    {0x8074, "DBGBVR14_EL1", kStateIfPresent},
    {0x8075, "DBGBCR14_EL1", kStateIfPresent},
    {0x8076, "DBGWVR14_EL1", kStateIfPresent},
    {0x8077, "DBGWCR14_EL1", kStateIfPresent},
    {0x807c, "DBGBVR15_EL1", kStateIfPresent},
    {0x807d, "DBGBCR15_EL1", kStateIfPresent},
    {0x807e, "DBGWVR15_EL1", kStateIfPresent},
    {0x807f, "DBGWCR15_EL1", kStateIfPresent},
    {0xc000, "MIDR_EL1", kIdentity},
    {0xc005, "MPIDR_EL1", kIdentity},
    {0xc020, "ID_AA64PFR0_EL1", kIdentity},
    {0xc021, "ID_AA64PFR1_EL1", kIdentity},
    {0xc024, "ID_AA64ZFR0_EL1", kIdentityIfPresent},
    {0xc025, "ID_AA64SMFR0_EL1", kIdentityIfPresent},
    {0xc028, "ID_AA64DFR0_EL1", kIdentity},
    {0xc029, "ID_AA64DFR1_EL1", kIdentity},
    {0xc030, "ID_AA64ISAR0_EL1", kIdentity},
    {0xc031, "ID_AA64ISAR1_EL1", kIdentity},
    {0xc038, "ID_AA64MMFR0_EL1", kIdentity},
    {0xc039, "ID_AA64MMFR1_EL1", kIdentity},
    {0xc03a, "ID_AA64MMFR2_EL1", kIdentity},
    {0xc080, "SCTLR_EL1", kState},
    {0xc081, "ACTLR_EL1", kState},
    {0xc082, "CPACR_EL1", kState},
    {0xc094, "SMPRI_EL1", kStateIfPresent},
    {0xc096, "SMCR_EL1", kStateIfPresent},
    {0xc100, "TTBR0_EL1", kState},
    {0xc101, "TTBR1_EL1", kState},
    {0xc102, "TCR_EL1", kState},
    {0xc108, "APIAKEYLO_EL1", kState},
    {0xc109, "APIAKEYHI_EL1", kState},
    {0xc10a, "APIBKEYLO_EL1", kState},
    {0xc10b, "APIBKEYHI_EL1", kState},
    {0xc110, "APDAKEYLO_EL1", kState},
    {0xc111, "APDAKEYHI_EL1", kState},
    {0xc112, "APDBKEYLO_EL1", kState},
    {0xc113, "APDBKEYHI_EL1", kState},
    {0xc118, "APGAKEYLO_EL1", kState},
    {0xc119, "APGAKEYHI_EL1", kState},
    {0xc200, "SPSR_EL1", kState},
    {0xc201, "ELR_EL1", kState},
    {0xc288, "AFSR0_EL1", kState},
    {0xc289, "AFSR1_EL1", kState},
    {0xc290, "ESR_EL1", kState},
    {0xc300, "FAR_EL1", kState},
    {0xc3a0, "PAR_EL1", kState},
    {0xc510, "MAIR_EL1", kState},
    {0xc518, "AMAIR_EL1", kState},
    {0xc600, "VBAR_EL1", kState},
    {0xc681, "CONTEXTIDR_EL1", kState},
    {0xc684, "TPIDR_EL1", kState},
    {0xc687, "SCXTNUM_EL1", kStateIfPresent},
    {0xc708, "CNTKCTL_EL1", kState},
    {0xd000, "CSSELR_EL1", kState},
    {0xde82, "TPIDR_EL0", kState},
    {0xde83, "TPIDRRO_EL0", kState},
    {0xde85, "TPIDR2_EL0", kStateIfPresent},
    {0xde87, "SCXTNUM_EL0", kStateIfPresent},
    {0xdf11, "CNTP_CTL_EL0", kTimerIfPresent},
    {0xdf12, "CNTP_CVAL_EL0", kStateIfPresent},
    {0xdf19, "CNTV_CTL_EL0", kTimerControl},
    {0xdf1a, "CNTV_CVAL_EL0", kState},
});

constexpr auto kGicRegisters = std::to_array<SystemRegister>({
    {0xc665, "ICC_SRE_EL1", kState},
    {0xc664, "ICC_CTLR_EL1", kState},
    {0xc666, "ICC_IGRPEN0_EL1", kState},
    {0xc667, "ICC_IGRPEN1_EL1", kState},
    {0xc230, "ICC_PMR_EL1", kState},
    {0xc643, "ICC_BPR0_EL1", kState},
    {0xc663, "ICC_BPR1_EL1", kState},
    {0xc644, "ICC_AP0R0_EL1", kState},
    {0xc648, "ICC_AP1R0_EL1", kState},
});

// What is enabled comes last, when all else about it is known.
constexpr auto kRedistributorRegisters = std::to_array<RedistributorRegister>({
    {0x080, "GICR_IGROUPR0"},
    {0x400, "GICR_IPRIORITYR0"},
    {0x404, "GICR_IPRIORITYR1"},
    {0x408, "GICR_IPRIORITYR2"},
    {0x40c, "GICR_IPRIORITYR3"},
    {0x410, "GICR_IPRIORITYR4"},
    {0x414, "GICR_IPRIORITYR5"},
    {0x418, "GICR_IPRIORITYR6"},
    {0x41c, "GICR_IPRIORITYR7"},
    {0xc04, "GICR_ICFGR1"},
    {0x200, "GICR_ISPENDR0", 0x280},
    {0x300, "GICR_ISACTIVER0", 0x380},
    {0x100, "GICR_ISENABLER0", 0x180},
});

constexpr auto kLeftOut = std::to_array<LeftOut>({
    {0xc208, "SP_EL0", "Arm64VcpuState::sp_el0"},
    {0xe208, "SP_EL1", "Arm64VcpuState::sp_el1"},
    {0xdf10, "CNTP_TVAL_EL0", "CNTP_CVAL_EL0 less the counter: another number at each reading"},
    {0xc65b, "ICC_RPR_EL1", "read-only, follows from ICC_AP0R0_EL1 and ICC_AP1R0_EL1"},
});

constexpr bool ascends(std::span<const SystemRegister> registers) {
  for (std::size_t i = 1; i < registers.size(); ++i) {
    if (registers[i - 1].encoding >= registers[i].encoding) {
      return false;
    }
  }
  return true;
}
static_assert(ascends(kSystemRegisters));

}  // namespace

std::span<const SystemRegister> system_registers() {
  return kSystemRegisters;
}

std::span<const SystemRegister> gic_registers() {
  return kGicRegisters;
}

std::span<const RedistributorRegister> redistributor_registers() {
  return kRedistributorRegisters;
}

const SystemRegister* find_system_register(std::uint16_t encoding) {
  const auto* const found =
      std::ranges::lower_bound(kSystemRegisters, encoding, {}, &SystemRegister::encoding);
  return found != kSystemRegisters.end() && found->encoding == encoding ? found : nullptr;
}

const SystemRegister* find_gic_register(std::uint16_t encoding) {
  const auto* const found = std::ranges::find(kGicRegisters, encoding, &SystemRegister::encoding);
  return found != kGicRegisters.end() ? found : nullptr;
}

std::span<const LeftOut> left_out_registers() {
  return kLeftOut;
}

}  // namespace stasis::hvf
