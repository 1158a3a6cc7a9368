// Guests of one vCPU in the simulation: what they compute, why they leave, and with what syndrome.
#include <variant>

#include "hvf/syndrome.h"
#include "tests/hvf/sim_fixture.h"

namespace stasis::hvf {
namespace {

TEST_F(SimGuestTest, AGuestComputesAndStoresWhatTheHostSees) {
  Arm64Code code;
  code.load_imm(0, 6).load_imm(1, 7).multiply(2, 0, 1).load_imm(3, kData).store(2, 3).hvc(9);
  put(0, code);
  SimVcpu vcpu;
  const hv_vcpu_exit_t exit = vcpu.run();
  EXPECT_TRUE(is_hvc(exit, 9)) << std::hex << exit.exception.syndrome;
  EXPECT_EQ(vcpu.get(HV_REG_X2), 42U);
  EXPECT_EQ(peek(kData), 42U);
  EXPECT_EQ(vcpu.get(HV_REG_PC), code.bytes().size()) << "HVC's return address is behind it";
}

TEST_F(SimGuestTest, MemoryThatTheHostHadFilledBeforeIsTheGuests) {
  poke(kData, 0x0123456789abcdef);
  put(0, Arm64Code().load_imm(1, kData).load(2, 1).hvc(0));
  SimVcpu vcpu;
  EXPECT_TRUE(is_hvc(vcpu.run(), 0));
  EXPECT_EQ(vcpu.get(HV_REG_X2), 0x0123456789abcdefU);
}

TEST_F(SimGuestTest, AWriteToAProtectedPageLeavesBeforeItHappensAndIsRepeated) {
  constexpr std::uint64_t kTarget = kData + 2 * kPage + 24;
  Arm64Code code;
  code.load_imm(0, 0x77).load_imm(1, kTarget).load(2, 1);  // Reading is allowed.
  const std::uint64_t store_at = code.bytes().size();
  put(0, code.store(0, 1).hvc(1));
  ASSERT_EQ(hv_vm_protect(align_down(kTarget, kPage), kPage, kReadExec), HV_SUCCESS);
  SimVcpu vcpu;
  for (int again = 0; again < 3; ++again) {
    const hv_vcpu_exit_t exit = vcpu.run();
    ASSERT_EQ(exit.reason, HV_EXIT_REASON_EXCEPTION);
    EXPECT_EQ(exit.exception.physical_address, kTarget);
    EXPECT_EQ(exit.exception.virtual_address, kTarget);
    const Trap trap = decode_syndrome(exit.exception.syndrome);
    const auto* abort = std::get_if<DataAbort>(&trap);
    ASSERT_NE(abort, nullptr);
    EXPECT_TRUE(abort->is_write);
    EXPECT_EQ(abort->fault.kind, FaultKind::kPermission);
    EXPECT_EQ(vcpu.get(HV_REG_PC), store_at);
    EXPECT_EQ(peek(kTarget), 0U);
  }
  ASSERT_EQ(hv_vm_protect(align_down(kTarget, kPage), kPage, kAll), HV_SUCCESS);
  EXPECT_TRUE(is_hvc(vcpu.run(), 1));
  EXPECT_EQ(peek(kTarget), 0x77U);
}

TEST_F(SimGuestTest, EachPageOfTheFrameworkIsProtectedByItself) {
  // Every second page is protected: stores to the others do not leave.
  Arm64Code code;
  code.load_imm(0, 1).load_imm(1, kData).load_imm(2, kPage).load_imm(3, 16);
  const Arm64Code::Label loop = code.here();
  put(0, code.store(0, 1).add(1, 1, 2).sub_imm(3, 3, 1).branch_if_not_zero(3, loop).hvc(0));
  for (std::uint64_t page = 0; page < 16; page += 2) {
    ASSERT_EQ(hv_vm_protect(kData + page * kPage, kPage, HV_MEMORY_READ), HV_SUCCESS);
  }
  SimVcpu vcpu;
  for (std::uint64_t page = 0; page < 16; page += 2) {
    const hv_vcpu_exit_t exit = vcpu.run();
    EXPECT_EQ(exit.exception.physical_address, kData + page * kPage);
    ASSERT_EQ(hv_vm_protect(kData + page * kPage, kPage, kAll), HV_SUCCESS);
  }
  EXPECT_TRUE(is_hvc(vcpu.run(), 0));
  for (std::uint64_t page = 0; page < 16; ++page) {
    EXPECT_EQ(peek(kData + page * kPage), 1U);
  }
}

TEST_F(SimGuestTest, WithoutExecutePermissionTheFetchLeaves) {
  put(0, Arm64Code().load_imm(1, kData).branch_to(1));
  put(kData, Arm64Code().hvc(3));
  ASSERT_EQ(hv_vm_protect(kData, kPage, HV_MEMORY_READ | HV_MEMORY_WRITE), HV_SUCCESS);
  SimVcpu vcpu;
  const hv_vcpu_exit_t exit = vcpu.run();
  const Trap trap = decode_syndrome(exit.exception.syndrome);
  ASSERT_TRUE(std::holds_alternative<InstructionAbort>(trap)) << exception_class(exit);
  EXPECT_EQ(exit.exception.physical_address, kData);
  EXPECT_EQ(vcpu.get(HV_REG_PC), kData);
  ASSERT_EQ(hv_vm_protect(kData, kPage, kReadExec), HV_SUCCESS);
  EXPECT_TRUE(is_hvc(vcpu.run(), 3));
}

TEST_F(SimGuestTest, AnUnmappedPageFaultsAndCanBeMappedThen) {
  put(0, Arm64Code().load_imm(0, 5).load_imm(1, kBytes + kPage + 8).store(0, 1).hvc(0));
  SimVcpu vcpu;
  const hv_vcpu_exit_t exit = vcpu.run();
  const Trap trap = decode_syndrome(exit.exception.syndrome);
  const auto* abort = std::get_if<DataAbort>(&trap);
  ASSERT_NE(abort, nullptr);
  EXPECT_EQ(abort->fault.kind, FaultKind::kTranslation);
  EXPECT_EQ(exit.exception.physical_address, kBytes + kPage + 8);
  const HostMemory more(kPage);
  ASSERT_EQ(hv_vm_map(more.address(), kBytes + kPage, kPage, kAll), HV_SUCCESS);
  EXPECT_TRUE(is_hvc(vcpu.run(), 0));
  EXPECT_EQ(more.address()[8], std::byte{5});
  ASSERT_EQ(hv_vm_unmap(kBytes + kPage, kPage), HV_SUCCESS);
  vcpu.set(HV_REG_PC, 0);
  EXPECT_EQ(exception_class(vcpu.run()), 0x24U) << "unmapped again";
}

TEST_F(SimGuestTest, DeviceAccessesAreDecodedFromTheirSyndrome) {
  Arm64Code code;
  code.load_imm(5, kDevice + 4).load_imm(6, 0x1122334455667788);
  const std::uint64_t begin = code.bytes().size();
  put(0, code.store(6, 5, 2).load(7, 5, 4).load_signed_byte(8, 5).store(31, 5, 8).hvc(0));
  SimVcpu vcpu;
  struct Expected {
    bool is_write = false;
    std::uint8_t width_bytes = 0;
    GeneralRegister reg;
  };
  std::uint64_t pc = begin;
  for (const Expected& expected : {Expected{true, 2, 6}, Expected{false, 4, 7},
                                   Expected{false, 1, 8}, Expected{true, 8, std::nullopt}}) {
    const hv_vcpu_exit_t exit = vcpu.run();
    ASSERT_EQ(exit.reason, HV_EXIT_REASON_EXCEPTION);
    EXPECT_EQ(exit.exception.physical_address, kDevice + 4);
    EXPECT_EQ(vcpu.get(HV_REG_PC), pc);
    const Trap trap = decode_syndrome(exit.exception.syndrome);
    const auto* abort = std::get_if<DataAbort>(&trap);
    ASSERT_NE(abort, nullptr);
    EXPECT_EQ(abort->is_write, expected.is_write);
    ASSERT_TRUE(abort->access.has_value()) << "ISV";
    EXPECT_EQ(abort->access->width_bytes, expected.width_bytes);
    EXPECT_EQ(abort->access->reg, expected.reg);
    if (!expected.is_write) {
      vcpu.set(hv_reg_t{*expected.reg}, loaded_value(*abort->access, 0xfedcba98));
    } else if (expected.reg.has_value()) {
      EXPECT_EQ(stored_value(*abort->access, vcpu.get(hv_reg_t{*expected.reg})), 0x7788U);
    }
    pc += bytes_to_skip(exit.exception.syndrome);
    vcpu.set(HV_REG_PC, pc);
  }
  EXPECT_TRUE(is_hvc(vcpu.run(), 0));
  EXPECT_EQ(vcpu.get(HV_REG_X7), 0xfedcba98U);
  EXPECT_EQ(vcpu.get(HV_REG_X8), 0xffffffffffffff98U) << "LDRSB";
}

TEST_F(SimGuestTest, ThePairThatADeviceCannotEmulateSaysSo) {
  put(0, Arm64Code().load_imm(1, kDevice).store_pair(2, 3, 1));
  SimVcpu vcpu;
  const Trap trap = decode_syndrome(vcpu.run().exception.syndrome);
  const auto* abort = std::get_if<DataAbort>(&trap);
  ASSERT_NE(abort, nullptr);
  EXPECT_FALSE(abort->access.has_value());
}

TEST_F(SimGuestTest, CallsAndWaitsLeaveWithTheirSyndromes) {
  put(0, Arm64Code().smc(5).wfi());
  SimVcpu vcpu;
  Trap trap = decode_syndrome(vcpu.run().exception.syndrome);
  EXPECT_EQ(trap, Trap(CallTrap{CallKind::kSmc, 5}));
  EXPECT_EQ(vcpu.get(HV_REG_PC), 0U) << "SMC traps at the instruction";
  vcpu.set(HV_REG_PC, 4);
  trap = decode_syndrome(vcpu.run().exception.syndrome);
  EXPECT_TRUE(std::holds_alternative<WaitTrap>(trap));
  EXPECT_EQ(vcpu.get(HV_REG_PC), 4U);
}

TEST_F(SimGuestTest, SystemRegistersThatTheFrameworkTrapsAreDecoded) {
  constexpr std::uint32_t kPmcr = 0xdce0;    // PMCR_EL0: op0 3, op1 3, CRn 9, CRm 12, op2 0.
  constexpr std::uint32_t kCntpct = 0xdf01;  // CNTPCT_EL0.
  put(0, Arm64Code().write_system(kPmcr, 9).read_system(10, kCntpct));
  SimVcpu vcpu;
  EXPECT_EQ(decode_syndrome(vcpu.run().exception.syndrome),
            Trap(SystemRegisterTrap{kPmcr, RegisterAccess::kWrite, GeneralRegister(9)}));
  vcpu.set(HV_REG_PC, 4);
  EXPECT_EQ(decode_syndrome(vcpu.run().exception.syndrome),
            Trap(SystemRegisterTrap{kCntpct, RegisterAccess::kRead, GeneralRegister(10)}));
}

TEST_F(SimGuestTest, ATableWalkIntoAProtectedPageNamesTheTablesPage) {
  // One level-1 table of 1 GiB blocks in a page without any permission, then translation on.
  constexpr std::uint64_t kTable = kData + kPage;
  poke(kTable, 0x701);  // Block at 0: access flag, inner shareable, normal memory by MAIR 0.
  Arm64Code code;
  code.load_imm(1, kTable).write_system(HV_SYS_REG_TTBR0_EL1, 1);
  code.load_imm(1, (std::uint64_t{2} << 32U) | 0x3519).write_system(HV_SYS_REG_TCR_EL1, 1);
  code.load_imm(1, 0xff).write_system(HV_SYS_REG_MAIR_EL1, 1).isb();
  code.load_imm(1, 0x1005)
      .write_system(HV_SYS_REG_SCTLR_EL1, 1)
      .isb()
      .load_imm(2, kData)
      .load(3, 2);
  put(0, code.hvc(2));
  poke(kData, 99);
  ASSERT_EQ(hv_vm_protect(kTable, kPage, 0), HV_SUCCESS);
  SimVcpu vcpu;
  const hv_vcpu_exit_t exit = vcpu.run();
  const Trap trap = decode_syndrome(exit.exception.syndrome);
  const auto* abort = std::get_if<InstructionAbort>(&trap);
  ASSERT_NE(abort, nullptr) << "the first fetch with translation on";
  EXPECT_TRUE(abort->is_table_walk);
  EXPECT_EQ(align_down(exit.exception.physical_address, 4096), kTable);
  ASSERT_EQ(hv_vm_protect(kTable, kPage, kAll), HV_SUCCESS);
  EXPECT_TRUE(is_hvc(vcpu.run(), 2));
  EXPECT_EQ(vcpu.get(HV_REG_X3), 99U);
  // With translation on, a permission fault's page comes from translating the virtual address.
  ASSERT_EQ(hv_vm_protect(kData, kPage, 0), HV_SUCCESS);
  vcpu.set(HV_REG_PC, code.bytes().size() - 8);
  const std::uint64_t par = 0x0123456789abc000;
  vcpu.set(HV_SYS_REG_PAR_EL1, par);
  const hv_vcpu_exit_t second = vcpu.run();
  EXPECT_EQ(exception_class(second), 0x24U);
  EXPECT_EQ(second.exception.physical_address, kData);
  EXPECT_EQ(vcpu.get(HV_SYS_REG_PAR_EL1), par) << "it is the guest's";
}

TEST_F(SimGuestTest, CodeThatTheHostReplacesNeedsAnInvalidation) {
  put(kPage, Arm64Code().load_imm(1, 1).hvc(0));
  SimVcpu vcpu(kPage);
  EXPECT_TRUE(is_hvc(vcpu.run(), 0));
  EXPECT_EQ(vcpu.get(HV_REG_X1), 1U);
  put(kPage, Arm64Code().load_imm(1, 2).hvc(0));
  sys_icache_invalidate(memory_.address() + kPage, 8);
  vcpu.set(HV_REG_PC, kPage);
  EXPECT_TRUE(is_hvc(vcpu.run(), 0));
  EXPECT_EQ(vcpu.get(HV_REG_X1), 2U);
}

}  // namespace
}  // namespace stasis::hvf
