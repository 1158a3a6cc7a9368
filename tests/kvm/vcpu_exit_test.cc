// How the exits of a vCPU look to its caller.
#include <array>
#include <string>

#include "tests/kvm/kvm_fixture.h"

namespace stasis::kvm {
namespace {

STASIS_X86_CODE(out_widths,
                "mov $0x1122334455667788, %rax\n mov $0x1f0, %edx\n"
                "out %al, (%dx)\n out %ax, (%dx)\n out %eax, (%dx)\n" STASIS_X86_HALT)
STASIS_X86_CODE(in_widths,
                "mov $-1, %rbx\n mov $0x1f0, %edx\n"
                "mov $-1, %rax\n in (%dx), %al\n mov %rax, %rsi\n"
                "mov $-1, %rax\n in (%dx), %ax\n mov %rax, %rdi\n"
                "mov $-1, %rax\n in (%dx), %eax\n mov %rax, %rbp\n" STASIS_X86_HALT)
STASIS_X86_CODE(mmio_widths,
                "mov $0x1122334455667788, %rax\n"
                "mov %al, (%rbx)\n mov %ax, 2(%rbx)\n mov %eax, 4(%rbx)\n mov %rax, 8(%rbx)\n"
                "mov $-1, %rcx\n mov (%rbx), %cl\n"
                "mov $-1, %rdx\n mov 2(%rbx), %dx\n"
                "mov 4(%rbx), %esi\n mov 8(%rbx), %rdi\n" STASIS_X86_HALT)
STASIS_X86_CODE(mmio_misaligned, "mov %rax, 0xffd(%rbx)\n mov 0xffd(%rbx), %rcx\n" STASIS_X86_HALT)
STASIS_X86_CODE(string_out, "cld\n mov $0x1f0, %edx\n rep outsl\n" STASIS_X86_HALT)
STASIS_X86_CODE(string_in, "cld\n mov $0x1f0, %edx\n rep insw\n" STASIS_X86_HALT)
STASIS_X86_CODE(undefined, "ud2\n")
STASIS_X86_CODE(halt, STASIS_X86_HALT)

class VcpuExitTest : public KvmTest {};

TEST_F(VcpuExitTest, PortWritesCarryTheirWidthAndOnlyTheirBytes) {
  auto [memory, vm] = make_vm();
  auto vcpu = make_vcpu(*vm, place(*memory, out_widths()));
  const std::array<ExitIoWrite, 3> expected = {ExitIoWrite{{IoSpace::kPort, 0x1f0, 1}, 0x88},
                                               ExitIoWrite{{IoSpace::kPort, 0x1f0, 2}, 0x7788},
                                               ExitIoWrite{{IoSpace::kPort, 0x1f0, 4}, 0x55667788}};
  for (const ExitIoWrite& want : expected) {
    const VcpuExit exit = must(vcpu->run());
    ASSERT_TRUE(std::holds_alternative<ExitIoWrite>(exit)) << failure_of(exit);
    EXPECT_EQ(std::get<ExitIoWrite>(exit).access, want.access);
    EXPECT_EQ(std::get<ExitIoWrite>(exit).data, want.data);
  }
  expect_halted(must(vcpu->run()));
}

TEST_F(VcpuExitTest, PortReadsDeliverTheAnswerInTheirWidth) {
  auto [memory, vm] = make_vm();
  auto vcpu = make_vcpu(*vm, place(*memory, in_widths()));
  for (const std::uint8_t width : std::to_array<std::uint8_t>({1, 2, 4})) {
    const VcpuExit exit = must(vcpu->run());
    ASSERT_TRUE(std::holds_alternative<ExitIoRead>(exit)) << failure_of(exit);
    EXPECT_EQ(std::get<ExitIoRead>(exit).access, (IoAccess{IoSpace::kPort, 0x1f0, width}));
    must(vcpu->complete_read(0xaabbccddeeff0011));
  }
  expect_halted(must(vcpu->run()));
  const X86VcpuState state = save(*vcpu);
  EXPECT_EQ(state.general.rsi, 0xffffffffffffff11);
  EXPECT_EQ(state.general.rdi, 0xffffffffffff0011);
  EXPECT_EQ(state.general.rbp, 0x00000000eeff0011U);
}

TEST_F(VcpuExitTest, UnbackedMemoryReadsAndWritesCarryAddressAndWidth) {
  auto [memory, vm] = make_vm();
  X86VcpuState start = place(*memory, mmio_widths());
  start.general.rbx = 5 * kMib;
  auto vcpu = make_vcpu(*vm, start);
  std::uint64_t address = 5 * kMib;
  for (const std::uint8_t width : std::to_array<std::uint8_t>({1, 2, 4, 8})) {
    address = 5 * kMib + (width == 1 ? 0 : width);
    const VcpuExit exit = must(vcpu->run());
    ASSERT_TRUE(std::holds_alternative<ExitIoWrite>(exit)) << failure_of(exit);
    const auto& write = std::get<ExitIoWrite>(exit);
    EXPECT_EQ(write.access, (IoAccess{IoSpace::kMmio, address, width}));
    EXPECT_EQ(write.data, 0x1122334455667788 & (width == 8 ? ~0ULL : (1ULL << (8 * width)) - 1));
  }
  for (const std::uint8_t width : std::to_array<std::uint8_t>({1, 2, 4, 8})) {
    const VcpuExit exit = must(vcpu->run());
    ASSERT_TRUE(std::holds_alternative<ExitIoRead>(exit)) << failure_of(exit);
    EXPECT_EQ(std::get<ExitIoRead>(exit).access.width_bytes, width);
    must(vcpu->complete_read(0x0102030405060708));
  }
  expect_halted(must(vcpu->run()));
  const X86VcpuState state = save(*vcpu);
  EXPECT_EQ(state.general.rcx, 0xffffffffffffff08);
  EXPECT_EQ(state.general.rdx, 0xffffffffffff0708);
  EXPECT_EQ(state.general.rsi, 0x05060708U);
  EXPECT_EQ(state.general.rdi, 0x0102030405060708U);
}

// 8 bytes from 3 bytes before a page's end: fragments of 3 and 5 bytes, cut into powers of two.
TEST_F(VcpuExitTest, MisalignedDeviceAccessAcrossPagesArrivesInOrderAndWhole) {
  auto [memory, vm] = make_vm();
  X86VcpuState start = place(*memory, mmio_misaligned());
  start.general.rbx = 5 * kMib;
  start.general.rax = 0x8877665544332211;
  auto vcpu = make_vcpu(*vm, start);
  const std::uint64_t first = 5 * kMib + 0xffd;
  std::vector<std::byte> device(8);
  std::size_t done = 0;
  while (done < 8) {
    const VcpuExit exit = must(vcpu->run());
    ASSERT_TRUE(std::holds_alternative<ExitIoWrite>(exit)) << failure_of(exit);
    const auto& write = std::get<ExitIoWrite>(exit);
    ASSERT_EQ(write.access.address, first + done);
    std::memcpy(device.data() + done, &write.data, write.access.width_bytes);
    done += write.access.width_bytes;
  }
  EXPECT_EQ(std::memcmp(device.data(), &start.general.rax, 8), 0);
  done = 0;
  while (done < 8) {
    const VcpuExit exit = must(vcpu->run());
    ASSERT_TRUE(std::holds_alternative<ExitIoRead>(exit)) << failure_of(exit);
    const auto& read = std::get<ExitIoRead>(exit);
    ASSERT_EQ(read.access.address, first + done);
    std::uint64_t value = 0;
    std::memcpy(&value, device.data() + done, read.access.width_bytes);
    must(vcpu->complete_read(value));
    done += read.access.width_bytes;
  }
  expect_halted(must(vcpu->run()));
  EXPECT_EQ(save(*vcpu).general.rcx, start.general.rax);
}

TEST_F(VcpuExitTest, StringOutputDeliversEveryElementInOrder) {
  auto [memory, vm] = make_vm();
  X86VcpuState start = place(*memory, string_out());
  start.general.rsi = 2 * kMib;
  start.general.rcx = 100;
  for (std::uint32_t i = 0; i < 100; ++i) {
    must(memory->write_object(Gpa{2 * kMib + i * 4}, i * 3 + 1));
  }
  auto vcpu = make_vcpu(*vm, start);
  for (std::uint32_t i = 0; i < 100; ++i) {
    const VcpuExit exit = must(vcpu->run());
    ASSERT_TRUE(std::holds_alternative<ExitIoWrite>(exit)) << failure_of(exit);
    EXPECT_EQ(std::get<ExitIoWrite>(exit).access, (IoAccess{IoSpace::kPort, 0x1f0, 4}));
    EXPECT_EQ(std::get<ExitIoWrite>(exit).data, i * 3 + 1);
  }
  expect_halted(must(vcpu->run()));
  EXPECT_EQ(save(*vcpu).general.rcx, 0U);
}

TEST_F(VcpuExitTest, StringInputTakesEveryAnswerInOrder) {
  auto [memory, vm] = make_vm();
  X86VcpuState start = place(*memory, string_in());
  start.general.rdi = 2 * kMib;
  start.general.rcx = 100;
  auto vcpu = make_vcpu(*vm, start);
  for (std::uint16_t i = 0; i < 100; ++i) {
    const VcpuExit exit = must(vcpu->run());
    ASSERT_TRUE(std::holds_alternative<ExitIoRead>(exit)) << failure_of(exit);
    EXPECT_EQ(std::get<ExitIoRead>(exit).access, (IoAccess{IoSpace::kPort, 0x1f0, 2}));
    must(vcpu->complete_read(i * 5U));
  }
  expect_halted(must(vcpu->run()));
  for (std::uint16_t i = 0; i < 100; ++i) {
    EXPECT_EQ(must(memory->read_object<std::uint16_t>(Gpa{2 * kMib + i * 2U})), i * 5);
  }
}

TEST_F(VcpuExitTest, TripleFaultFailsAndNamesTheInstruction) {
  auto [memory, vm] = make_vm();
  auto vcpu = make_vcpu(*vm, place(*memory, undefined()));
  const VcpuExit exit = must(vcpu->run());
  EXPECT_THAT(failure_of(exit), testing::HasSubstr("triple fault"));
  EXPECT_THAT(failure_of(exit), testing::HasSubstr("rip 0x100000 (ring 3"));
}

TEST_F(VcpuExitTest, ReadMustBeAnsweredBeforeRunAndSave) {
  auto [memory, vm] = make_vm();
  auto vcpu = make_vcpu(*vm, place(*memory, in_widths()));
  EXPECT_EQ(vcpu->complete_read(1).error().code, Errc::kInvalidArgument);
  ASSERT_TRUE(std::holds_alternative<ExitIoRead>(must(vcpu->run())));
  EXPECT_EQ(vcpu->run().error().code, Errc::kInvalidArgument);
  EXPECT_EQ(vcpu->save_state().error().code, Errc::kInvalidArgument);
  must(vcpu->complete_read(1));
  EXPECT_EQ(vcpu->complete_read(1).error().code, Errc::kInvalidArgument);
  // The read instruction is complete in the saved state: AL has the answer, RIP is behind it.
  const X86VcpuState state = save(*vcpu);
  EXPECT_EQ(state.general.rax, 0xffffffffffffff01);
}

TEST_F(VcpuExitTest, WriteIsCompleteInTheSavedState) {
  auto [memory, vm] = make_vm();
  auto vcpu = make_vcpu(*vm, place(*memory, out_widths()));
  const auto before = must(vcpu->run());
  ASSERT_TRUE(std::holds_alternative<ExitIoWrite>(before));
  const X86VcpuState state = save(*vcpu);
  // Loaded elsewhere, the guest goes on with the second OUT.
  auto [memory_2, vm_2] = make_vm();
  place(*memory_2, out_widths());
  auto vcpu_2 = make_vcpu(*vm_2, state);
  const VcpuExit next = must(vcpu_2->run());
  ASSERT_TRUE(std::holds_alternative<ExitIoWrite>(next)) << failure_of(next);
  EXPECT_EQ(std::get<ExitIoWrite>(next).access.width_bytes, 2);
  // And so does the one it was saved from.
  const VcpuExit same = must(vcpu->run());
  EXPECT_EQ(std::get<ExitIoWrite>(same).access.width_bytes, 2);
}

TEST_F(VcpuExitTest, ReadOnlyMemoryFailsTheGuestThatWritesIt) {
  auto memory = make_memory({{Gpa{0}, 4 * kMib}});
  auto vm = must(backend().create_vm({.vcpus = 1}));
  X86VcpuState start = place(*memory, mmio_widths());
  start.general.rbx = 3 * kMib;
  must(vm->map(*memory, Access::kReadExecute));
  auto vcpu = make_vcpu(*vm, start);
  EXPECT_THAT(failure_of(must(vcpu->run())), testing::HasSubstr("read-only RAM at 0x300000"));
}

TEST_F(VcpuExitTest, LoadingAStateDropsAnUnansweredRead) {
  auto [memory, vm] = make_vm();
  const X86VcpuState reading = place(*memory, in_widths());
  auto vcpu = make_vcpu(*vm, reading);
  ASSERT_TRUE(std::holds_alternative<ExitIoRead>(must(vcpu->run())));
  must(x86_ring3::write_code(*memory, 1, halt()));
  X86VcpuState halting = reading;
  halting.general.rip = x86_ring3::code_address(1).value;
  halting.general.rax = 7;
  must(vcpu->load_state(halting));
  expect_halted(must(vcpu->run()));
  EXPECT_EQ(save(*vcpu).general.rax, 7U);
}

}  // namespace
}  // namespace stasis::kvm
