// The register table against the framework's header: nothing is forgotten, nothing is there twice.
#include "hvf/register_table.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <Hypervisor/Hypervisor.h>
#include <gtest/gtest.h>

// Names of macOS 15.2 are only compared here, not used.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wunguarded-availability-new"
#endif

namespace stasis::hvf {
namespace {

struct Named {
  std::uint16_t encoding;
  std::string_view name;
};
#define SYSTEM(name)         \
  Named {                    \
    HV_SYS_REG_##name, #name \
  }
#define DEBUG(n) \
  SYSTEM(DBGBVR##n##_EL1), SYSTEM(DBGBCR##n##_EL1), SYSTEM(DBGWVR##n##_EL1), SYSTEM(DBGWCR##n##_EL1)
#define GIC(name)                       \
  Named {                               \
    HV_GIC_ICC_REG_##name, "ICC_" #name \
  }

// Every hv_sys_reg_t and hv_gic_icc_reg_t but those of EL2, which our VMs have not.
constexpr Named kOffered[] = {
    DEBUG(0),
    DEBUG(1),
    DEBUG(2),
    DEBUG(3),
    DEBUG(4),
    DEBUG(5),
    DEBUG(6),
    DEBUG(7),
    DEBUG(8),
    DEBUG(9),
    DEBUG(10),
    DEBUG(11),
    DEBUG(12),
    DEBUG(13),
    DEBUG(14),
    DEBUG(15),
    SYSTEM(MDCCINT_EL1),
    SYSTEM(MDSCR_EL1),
    SYSTEM(MIDR_EL1),
    SYSTEM(MPIDR_EL1),
    SYSTEM(ID_AA64PFR0_EL1),
    SYSTEM(ID_AA64PFR1_EL1),
    SYSTEM(ID_AA64ZFR0_EL1),
    SYSTEM(ID_AA64SMFR0_EL1),
    SYSTEM(ID_AA64DFR0_EL1),
    SYSTEM(ID_AA64DFR1_EL1),
    SYSTEM(ID_AA64ISAR0_EL1),
    SYSTEM(ID_AA64ISAR1_EL1),
    SYSTEM(ID_AA64MMFR0_EL1),
    SYSTEM(ID_AA64MMFR1_EL1),
    SYSTEM(ID_AA64MMFR2_EL1),
    SYSTEM(SCTLR_EL1),
    SYSTEM(ACTLR_EL1),
    SYSTEM(CPACR_EL1),
    SYSTEM(SMPRI_EL1),
    SYSTEM(SMCR_EL1),
    SYSTEM(TTBR0_EL1),
    SYSTEM(TTBR1_EL1),
    SYSTEM(TCR_EL1),
    SYSTEM(APIAKEYLO_EL1),
    SYSTEM(APIAKEYHI_EL1),
    SYSTEM(APIBKEYLO_EL1),
    SYSTEM(APIBKEYHI_EL1),
    SYSTEM(APDAKEYLO_EL1),
    SYSTEM(APDAKEYHI_EL1),
    SYSTEM(APDBKEYLO_EL1),
    SYSTEM(APDBKEYHI_EL1),
    SYSTEM(APGAKEYLO_EL1),
    SYSTEM(APGAKEYHI_EL1),
    SYSTEM(SPSR_EL1),
    SYSTEM(ELR_EL1),
    SYSTEM(SP_EL0),
    SYSTEM(AFSR0_EL1),
    SYSTEM(AFSR1_EL1),
    SYSTEM(ESR_EL1),
    SYSTEM(FAR_EL1),
    SYSTEM(PAR_EL1),
    SYSTEM(MAIR_EL1),
    SYSTEM(AMAIR_EL1),
    SYSTEM(VBAR_EL1),
    SYSTEM(CONTEXTIDR_EL1),
    SYSTEM(TPIDR_EL1),
    SYSTEM(SCXTNUM_EL1),
    SYSTEM(CNTKCTL_EL1),
    SYSTEM(CSSELR_EL1),
    SYSTEM(TPIDR_EL0),
    SYSTEM(TPIDRRO_EL0),
    SYSTEM(TPIDR2_EL0),
    SYSTEM(SCXTNUM_EL0),
    SYSTEM(CNTP_TVAL_EL0),
    SYSTEM(CNTP_CTL_EL0),
    SYSTEM(CNTP_CVAL_EL0),
    SYSTEM(CNTV_CTL_EL0),
    SYSTEM(CNTV_CVAL_EL0),
    SYSTEM(SP_EL1),
    GIC(PMR_EL1),
    GIC(BPR0_EL1),
    GIC(AP0R0_EL1),
    GIC(AP1R0_EL1),
    GIC(RPR_EL1),
    GIC(BPR1_EL1),
    GIC(CTLR_EL1),
    GIC(SRE_EL1),
    GIC(IGRPEN0_EL1),
    GIC(IGRPEN1_EL1),
};
#undef SYSTEM
#undef DEBUG
#undef GIC

TEST(RegisterTableTest, EveryRegisterThatIsOfferedIsCarriedOrLeftOutWithAReason) {
  std::map<std::uint16_t, std::vector<std::string_view>> known;
  for (const SystemRegister& reg : system_registers()) {
    known[reg.encoding].push_back(reg.name);
  }
  for (const SystemRegister& reg : gic_registers()) {
    known[reg.encoding].push_back(reg.name);
  }
  for (const LeftOut& reg : left_out_registers()) {
    known[reg.encoding].push_back(reg.name);
    EXPECT_FALSE(reg.reason.empty()) << reg.name;
  }
  for (const Named& offered : kOffered) {
    EXPECT_EQ(known[offered.encoding], std::vector{offered.name});
  }
  EXPECT_EQ(known.size(), std::size(kOffered)) << "a register that the framework does not offer";
}

TEST(RegisterTableTest, NoNameStandsTwice) {
  std::set<std::string_view> names;
  for (const SystemRegister& reg : system_registers()) {
    EXPECT_TRUE(names.insert(reg.name).second) << reg.name;
  }
  EXPECT_EQ(names.size(), system_registers().size());
}

TEST(RegisterTableTest, WhatIdentifiesTheCpuIsNotMereState) {
  for (const SystemRegister& reg : system_registers()) {
    const bool identifies =
        reg.name.starts_with("ID_") || reg.name == "MIDR_EL1" || reg.name == "MPIDR_EL1";
    EXPECT_EQ(is_identity(reg.role), identifies) << reg.name;
  }
}

TEST(RegisterTableTest, WhatCameAfterMacOs15MayBeAbsentAndPacKeysMayNot) {
  for (const std::uint16_t encoding :
       {HV_SYS_REG_SMCR_EL1, HV_SYS_REG_SMPRI_EL1, HV_SYS_REG_TPIDR2_EL0, HV_SYS_REG_SCXTNUM_EL0,
        HV_SYS_REG_SCXTNUM_EL1, HV_SYS_REG_ID_AA64ZFR0_EL1, HV_SYS_REG_ID_AA64SMFR0_EL1}) {
    EXPECT_TRUE(may_be_absent(find_system_register(encoding)->role));
  }
  std::size_t keys = 0;
  for (const SystemRegister& reg : system_registers()) {
    if (reg.name.find("KEY") != std::string_view::npos) {
      EXPECT_FALSE(may_be_absent(reg.role)) << reg.name;
      ++keys;
    }
  }
  EXPECT_EQ(keys, 10U);
}

TEST(RegisterTableTest, LookUpsFindEveryEntryAndNothingElse) {
  for (std::uint32_t encoding = 0; encoding <= 0xffff; ++encoding) {
    const auto wanted = static_cast<std::uint16_t>(encoding);
    const auto listed = [wanted](const SystemRegister& reg) { return reg.encoding == wanted; };
    const SystemRegister* const system = find_system_register(wanted);
    EXPECT_EQ(system != nullptr, std::ranges::any_of(system_registers(), listed));
    EXPECT_TRUE(system == nullptr || system->encoding == wanted);
    const SystemRegister* const gic = find_gic_register(wanted);
    EXPECT_EQ(gic != nullptr, std::ranges::any_of(gic_registers(), listed));
    EXPECT_TRUE(gic == nullptr || gic->encoding == wanted);
  }
}

}  // namespace
}  // namespace stasis::hvf
