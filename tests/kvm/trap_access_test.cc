// What a trap handler reads of a vCPU at an exit, and what becomes of what it sets.
#include <algorithm>

#include "core/trap.h"
#include "tests/kvm/kvm_fixture.h"

namespace stasis::kvm {
namespace {

// Behind the first OUT lies what must not be executed: the handler sets another place.
STASIS_X86_CODE(trap_twice,
                "mov $0x1f0, %edx\n out %al, (%dx)\n ud2\n"
                "mov %rbx, %rax\n out %eax, (%dx)\n" STASIS_X86_HALT)
constexpr std::uint64_t kBehindUd2 = 5 + 1 + 2;

std::uint32_t privilege_of(const X86Segment& segment) {
  return (segment.attributes >> 5U) & 3U;  // DPL: SDM vol. 3A, 3.4.5.
}

class TrapAccessTest : public KvmTest, public testing::WithParamInterface<RegisterTransfer> {
 protected:
  void SetUp() override {
    options_.registers = GetParam();
    KvmTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    vm_ = make_vm();
    X86VcpuState state = place(*vm_.memory, trap_twice());
    state.general.rbx = 0x1111;
    state.general.r15 = 0xfedcba9876543210;
    vcpu_ = make_vcpu(*vm_.vm, state);
    ASSERT_NE(vcpu_->trap_access(), nullptr);
    expect_output(0);
  }
  X86TrapAccess& access() { return *vcpu_->trap_access(); }
  // Runs to the next OUT.
  void expect_output(std::uint64_t data) {
    const VcpuExit exit = must(vcpu_->run());
    ASSERT_TRUE(std::holds_alternative<ExitIoWrite>(exit)) << failure_of(exit);
    EXPECT_EQ(std::get<ExitIoWrite>(exit).data, data);
  }
  // Where the second OUT is prepared.
  static std::uint64_t behind_ud2() { return x86_ring3::code_address(0).value + kBehindUd2; }

  TestVm vm_;
  std::unique_ptr<Vcpu> vcpu_;
};

TEST_P(TrapAccessTest, TheRegistersAreThoseOfTheProgramInRing3) {
  const X86TrapRegisters registers = must(access().registers());
  EXPECT_EQ(registers.general.rbx, 0x1111U);
  EXPECT_EQ(registers.general.rdx, 0x1f0U);
  EXPECT_EQ(registers.general.r15, 0xfedcba9876543210U);
  EXPECT_EQ(privilege_of(registers.cs), 3U);
  EXPECT_EQ(privilege_of(registers.ss), 3U);
}

TEST_P(TrapAccessTest, TheProgramGoesOnWhereAndWithWhatIsSet) {
  X86TrapRegisters registers = must(access().registers());
  registers.general.rip = behind_ud2();
  registers.general.rbx = 0x87654321;
  must(access().set_registers(registers));
  expect_output(0x87654321);
  const X86TrapRegisters later = must(access().registers());
  EXPECT_EQ(later.general.rax, 0x87654321U);
  EXPECT_EQ(later.general.r15, 0xfedcba9876543210U);
  expect_halted(must(vcpu_->run()));
}

TEST_P(TrapAccessTest, BasesOfSegmentsAreSetToo) {
  X86TrapRegisters registers = must(access().registers());
  registers.general.rip = behind_ud2();
  registers.fs_base = 0x123000;
  registers.gs_base = 0x7f0000456000;
  must(access().set_registers(registers));
  expect_output(0x1111);
  const X86TrapRegisters later = must(access().registers());
  EXPECT_EQ(later.fs_base, 0x123000U);
  EXPECT_EQ(later.gs_base, 0x7f0000456000U);
  const X86VcpuState saved = save(*vcpu_);
  EXPECT_EQ(saved.general.rbx, 0x1111U);
}

TEST_P(TrapAccessTest, TheExtendedStateThatIsSetIsTheOneThatIsRead) {
  std::vector<std::byte> image = must(access().extended_state());
  ASSERT_GE(image.size(), 576U);
  // XMM0 and its mark: SDM vol. 1, 13.4.1 and 13.4.2.
  std::fill_n(image.begin() + 160, 16, std::byte{0xa5});
  image[512] |= std::byte{2};
  must(access().set_extended_state(image));
  const std::vector<std::byte> now = must(access().extended_state());
  EXPECT_EQ(std::vector(now.begin() + 160, now.begin() + 176),
            std::vector(image.begin() + 160, image.begin() + 176));
}

TEST_P(TrapAccessTest, AnImpossibleExtendedStateIsRefusedAndChangesNothing) {
  const std::vector<std::byte> before = must(access().extended_state());
  std::vector<std::byte> image = before;
  image.pop_back();
  Result<void> set = access().set_extended_state(image);
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().code, Errc::kInvalidArgument);
  image = before;
  std::fill_n(image.begin() + 160, 16, std::byte{0x5a});
  std::fill_n(image.begin() + 512, 8, std::byte{0xff});  // XSTATE_BV: components that nobody has.
  set = access().set_extended_state(image);
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().code, Errc::kInvalidArgument);
  EXPECT_EQ(must(access().extended_state()), before);
}

INSTANTIATE_TEST_SUITE_P(OnKvm, TrapAccessTest,
                         testing::Values(RegisterTransfer::kShared, RegisterTransfer::kByIoctl),
                         [](const auto& param) {
                           return param.param == RegisterTransfer::kShared ? "sharing_registers"
                                                                           : "by_ioctl";
                         });

}  // namespace
}  // namespace stasis::kvm
