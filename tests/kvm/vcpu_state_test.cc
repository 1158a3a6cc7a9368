// Everything of a vCPU survives save and load into another VM.
#include <algorithm>
#include <array>
#include <string>

#include "kvm/host_cpuid.h"
#include "tests/kvm/kvm_fixture.h"

namespace stasis::kvm {
namespace {

constexpr std::uint64_t kStored = 2 * kMib;    // Where programs store what they find.
constexpr std::uint64_t kPatterns = 3 * kMib;  // Where they load FP/SIMD values from.

// Distinctive values in every general register, then an exit; then all of them to memory.
STASIS_X86_CODE(
    general_registers,
    "mov $0x0101010101010101, %rax\n mov $0x0202020202020202, %rcx\n"
    "mov $0x0404040404040404, %rbx\n mov $0x0505050505050505, %rsi\n"
    "mov $0x0606060606060606, %rdi\n mov $0x0707070707070707, %rbp\n"
    "mov $0x0808080808080808, %r8\n mov $0x0909090909090909, %r9\n"
    "mov $0x1010101010101010, %r10\n mov $0x1111111111111111, %r11\n"
    "mov $0x1212121212121212, %r12\n mov $0x1313131313131313, %r13\n"
    "mov $0x1414141414141414, %r14\n mov $0x1515151515151515, %r15\n"
    "mov $0x1f0, %edx\n std\n stc\n"
    "out %al, (%dx)\n"
    "push %rdx\n mov $0x200000, %edx\n"
    "mov %rax, (%rdx)\n mov %rcx, 8(%rdx)\n mov %rbx, 16(%rdx)\n mov %rsi, 24(%rdx)\n"
    "mov %rdi, 32(%rdx)\n mov %rbp, 40(%rdx)\n mov %r8, 48(%rdx)\n mov %r9, 56(%rdx)\n"
    "mov %r10, 64(%rdx)\n mov %r11, 72(%rdx)\n mov %r12, 80(%rdx)\n mov %r13, 88(%rdx)\n"
    "mov %r14, 96(%rdx)\n mov %r15, 104(%rdx)\n"
    "pop %rax\n mov %rax, 112(%rdx)\n pushf\n pop %rax\n mov %rax, 120(%rdx)\n"
    "mov %rsp, 128(%rdx)\n" STASIS_X86_HALT)

// x87, MXCSR and XMM; RBX holds the pattern's address, RDI the store's.
STASIS_X86_CODE(sse_registers,
                "fninit\n fldpi\n fldl (%rbx)\n fldcw 8(%rbx)\n ldmxcsr 12(%rbx)\n"
                "movdqu 16(%rbx), %xmm0\n movdqu 32(%rbx), %xmm7\n movdqu 48(%rbx), %xmm15\n"
                "mov $0x1f0, %edx\n out %al, (%dx)\n"
                "fnstcw 8(%rdi)\n stmxcsr 12(%rdi)\n"
                "movdqu %xmm0, 16(%rdi)\n movdqu %xmm7, 32(%rdi)\n movdqu %xmm15, 48(%rdi)\n"
                "fstpl (%rdi)\n fstpl 64(%rdi)\n" STASIS_X86_HALT)
STASIS_X86_CODE(
    avx_registers,
    "vmovdqu (%rbx), %ymm0\n vmovdqu 32(%rbx), %ymm8\n vmovdqu 64(%rbx), %ymm15\n"
    "mov $0x1f0, %edx\n out %al, (%dx)\n"
    "vmovdqu %ymm0, (%rdi)\n vmovdqu %ymm8, 32(%rdi)\n vmovdqu %ymm15, 64(%rdi)\n" STASIS_X86_HALT)
STASIS_X86_CODE(avx512_registers,
                "vmovdqu64 (%rbx), %zmm0\n vmovdqu64 64(%rbx), %zmm15\n"
                "vmovdqu64 128(%rbx), %zmm16\n vmovdqu64 192(%rbx), %zmm31\n"
                "kmovw 256(%rbx), %k1\n kmovw 258(%rbx), %k7\n"
                "mov $0x1f0, %edx\n out %al, (%dx)\n"
                "vmovdqu64 %zmm0, (%rdi)\n vmovdqu64 %zmm15, 64(%rdi)\n"
                "vmovdqu64 %zmm16, 128(%rdi)\n vmovdqu64 %zmm31, 192(%rdi)\n"
                "kmovw %k1, 256(%rdi)\n kmovw %k7, 258(%rdi)\n" STASIS_X86_HALT)
STASIS_X86_CODE(segment_bases,
                "mov %fs:0, %rax\n mov %gs:0, %rcx\n mov %rax, (%rdi)\n mov %rcx, 8(%rdi)\n"
                "mov $0x1f0, %edx\n out %al, (%dx)\n" STASIS_X86_HALT)
STASIS_X86_CODE(halt, STASIS_X86_HALT)

class VcpuStateTest : public KvmTest {
 protected:
  [[nodiscard]] bool has(const std::string& feature) const {
    const auto& features = capabilities().cpu_features;
    return std::find(features.begin(), features.end(), feature) != features.end();
  }

  // The counter is the one part that goes on by itself.
  static X86VcpuState without_clock(X86VcpuState state) {
    state.tsc = 0;
    return state;
  }

  // Leaves other values in the processor's registers, so that what a guest finds later is what was
  // loaded for it and not what a guest before it left behind. The first 16 bytes, which may hold
  // control words, stay as they are.
  void disturb(std::span<const std::byte> code, std::span<const std::byte> patterns) {
    auto [memory, vm] = make_vm();
    std::vector<std::byte> others(patterns.begin(), patterns.end());
    std::fill(others.begin() + std::min<std::ptrdiff_t>(std::ssize(others), 16), others.end(),
              std::byte{0x5a});
    must(memory->write(Gpa{kPatterns}, others));
    X86VcpuState start = place(*memory, code);
    start.general.rbx = kPatterns;
    start.general.rdi = kStored;
    auto vcpu = make_vcpu(*vm, start);
    EXPECT_TRUE(std::holds_alternative<ExitIoWrite>(must(vcpu->run())));
    expect_halted(must(vcpu->run()));
  }

  // Runs the program to its first exit, moves the vCPU to another VM with the same RAM, runs it to
  // its end there, and returns that VM's memory.
  std::unique_ptr<GuestMemory> run_across_two_vms(std::span<const std::byte> code,
                                                  std::span<const std::byte> patterns) {
    auto [memory, vm] = make_vm();
    must(memory->write(Gpa{kPatterns}, patterns));
    X86VcpuState start = place(*memory, code);
    start.general.rbx = kPatterns;
    start.general.rdi = kStored;
    auto vcpu = make_vcpu(*vm, start);
    const VcpuExit exit = must(vcpu->run());
    EXPECT_TRUE(std::holds_alternative<ExitIoWrite>(exit)) << failure_of(exit);
    const X86VcpuState saved = save(*vcpu);
    disturb(code, patterns);

    auto [memory_2, vm_2] = make_vm();
    place(*memory_2, code);
    std::vector<std::byte> stack(0x10000);
    must(memory->read(Gpa{0xa0000}, stack));
    must(memory_2->write(Gpa{0xa0000}, stack));
    auto vcpu_2 = make_vcpu(*vm_2, saved);
    EXPECT_EQ(without_clock(save(*vcpu_2)), without_clock(saved));
    expect_halted(must(vcpu_2->run()));
    return std::move(memory_2);
  }

  static std::vector<std::byte> distinct_bytes(std::size_t count) {
    std::vector<std::byte> bytes(count);
    for (std::size_t i = 0; i < count; ++i) {
      bytes[i] = static_cast<std::byte>(i * 37 + 11);
    }
    return bytes;
  }
  static std::vector<std::byte> stored_bytes(GuestMemory& memory, std::size_t count) {
    std::vector<std::byte> bytes(count);
    must(memory.read(Gpa{kStored}, bytes));
    return bytes;
  }
};

TEST_F(VcpuStateTest, GeneralRegistersGoOnInAnotherVm) {
  auto memory = run_across_two_vms(general_registers(), {});
  const std::array<std::uint64_t, 14> expected = {
      0x0101010101010101, 0x0202020202020202, 0x0404040404040404, 0x0505050505050505,
      0x0606060606060606, 0x0707070707070707, 0x0808080808080808, 0x0909090909090909,
      0x1010101010101010, 0x1111111111111111, 0x1212121212121212, 0x1313131313131313,
      0x1414141414141414, 0x1515151515151515};
  const auto stored = must(memory->read_object<std::array<std::uint64_t, 17>>(Gpa{kStored}));
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), stored.begin()));
  EXPECT_EQ(stored[14], 0x1f0U);
  EXPECT_EQ(stored[15] & 0x401U, 0x401U) << "direction and carry flags";
  EXPECT_EQ(stored[16], 0xa0000U + 0x1000 - 16);
}

TEST_F(VcpuStateTest, X87AndSseRegistersGoOnInAnotherVm) {
  std::vector<std::byte> patterns = distinct_bytes(64);
  const double number = 2.718281828;
  const std::uint16_t control = 0x0e7f;  // Round to zero, double precision.
  const std::uint32_t mxcsr = 0x7f80;    // Round to zero, all masked.
  std::memcpy(patterns.data(), &number, 8);
  std::memcpy(patterns.data() + 8, &control, 2);
  std::memcpy(patterns.data() + 12, &mxcsr, 4);
  auto memory = run_across_two_vms(sse_registers(), patterns);
  const std::vector<std::byte> stored = stored_bytes(*memory, 72);
  EXPECT_EQ(std::memcmp(stored.data(), patterns.data(), 10), 0) << "ST0 and control word";
  EXPECT_EQ(std::memcmp(stored.data() + 12, patterns.data() + 12, 52), 0) << "MXCSR and XMM";
  double pi = 0;
  std::memcpy(&pi, stored.data() + 64, 8);
  EXPECT_NEAR(pi, 3.141592653589793, 1e-15);
}

TEST_F(VcpuStateTest, AvxRegistersGoOnInAnotherVm) {
  if (!has("avx")) {
    GTEST_SKIP() << "this processor has no AVX";
  }
  const std::vector<std::byte> patterns = distinct_bytes(96);
  auto memory = run_across_two_vms(avx_registers(), patterns);
  EXPECT_EQ(stored_bytes(*memory, 96), patterns);
}

TEST_F(VcpuStateTest, Avx512RegistersAndMasksGoOnInAnotherVm) {
  if (!has("avx512f")) {
    GTEST_SKIP() << "this processor has no AVX-512";
  }
  const std::vector<std::byte> patterns = distinct_bytes(260);
  auto memory = run_across_two_vms(avx512_registers(), patterns);
  EXPECT_EQ(stored_bytes(*memory, 260), patterns);
}

TEST_F(VcpuStateTest, SegmentBasesAndSystemMsrsAreStateOfTheirOwn) {
  auto [memory, vm] = make_vm();
  must(memory->write_object(Gpa{kPatterns}, std::uint64_t{0xf5f5}));
  must(memory->write_object(Gpa{kPatterns + 64}, std::uint64_t{0x6565}));
  X86VcpuState start = place(*memory, segment_bases());
  start.general.rdi = kStored;
  start.system.fs.base = kPatterns;
  start.system.gs.base = kPatterns + 64;
  start.msrs = {{0xc0000081, 0x0023001000000000},   // IA32_STAR
                {0xc0000082, 0x123000},             // IA32_LSTAR
                {0xc0000084, 0x47700},              // IA32_FMASK
                {0xc0000102, 0x00007fff12345000}};  // IA32_KERNEL_GS_BASE
  auto vcpu = make_vcpu(*vm, start);
  ASSERT_TRUE(std::holds_alternative<ExitIoWrite>(must(vcpu->run())));
  EXPECT_EQ(must(memory->read_object<std::uint64_t>(Gpa{kStored})), 0xf5f5U);
  EXPECT_EQ(must(memory->read_object<std::uint64_t>(Gpa{kStored + 8})), 0x6565U);
  const X86VcpuState saved = save(*vcpu);
  for (const X86Msr& msr : start.msrs) {
    EXPECT_THAT(saved.msrs, testing::Contains(msr));
  }
  EXPECT_TRUE(std::is_sorted(saved.msrs.begin(), saved.msrs.end(),
                             [](const auto& a, const auto& b) { return a.index < b.index; }));
  EXPECT_EQ(saved.system.fs.base, kPatterns);
  EXPECT_EQ(saved.system.gs.base, kPatterns + 64);
  auto [memory_2, vm_2] = make_vm();
  auto vcpu_2 = make_vcpu(*vm_2, saved);
  EXPECT_EQ(without_clock(save(*vcpu_2)), without_clock(saved));
}

TEST_F(VcpuStateTest, DebugRegistersEventsAndControlRegistersRoundTrip) {
  auto [memory, vm] = make_vm();
  X86VcpuState start = place(*memory, halt());
  start.debug.db = {0x111000, 0x222000, 0x333000, 0x444000};
  start.debug.dr7 = 0x455;
  start.system.cr2 = 0xabc000;
  start.events.nmi_masked = true;
  start.events.interrupt_shadow = 1;
  auto vcpu = make_vcpu(*vm, start);
  const X86VcpuState saved = save(*vcpu);
  EXPECT_EQ(saved.debug, start.debug);
  EXPECT_EQ(saved.system, start.system);
  EXPECT_EQ(saved.events, start.events);
  auto [memory_2, vm_2] = make_vm();
  auto vcpu_2 = make_vcpu(*vm_2, saved);
  EXPECT_EQ(without_clock(save(*vcpu_2)), without_clock(saved));
}

TEST_F(VcpuStateTest, StateLoadsIntoAVcpuThatHasRun) {
  auto [memory, vm] = make_vm();
  auto vcpu = make_vcpu(*vm, place(*memory, general_registers()));
  const X86VcpuState fresh = save(*vcpu);
  ASSERT_TRUE(std::holds_alternative<ExitIoWrite>(must(vcpu->run())));
  EXPECT_NE(without_clock(save(*vcpu)), without_clock(fresh));
  must(vcpu->load_state(fresh));
  EXPECT_EQ(without_clock(save(*vcpu)), without_clock(fresh));
  ASSERT_TRUE(std::holds_alternative<ExitIoWrite>(must(vcpu->run())));
}

// A kernel without KVM_CAP_SYNC_REGS is one ioctl a register file slower, and no different.
class RegistersByIoctl : public VcpuStateTest {
 protected:
  RegistersByIoctl() { options_.registers = RegisterTransfer::kByIoctl; }
};

TEST_F(RegistersByIoctl, GoOnInAnotherVm) {
  auto memory = run_across_two_vms(general_registers(), {});
  const auto stored = must(memory->read_object<std::array<std::uint64_t, 2>>(Gpa{kStored}));
  EXPECT_EQ(stored[0], 0x0101010101010101U);
  EXPECT_EQ(stored[1], 0x0202020202020202U);
}

TEST_F(RegistersByIoctl, AreThoseThatTheSharedPageCarries) {
  auto shared_backend = must(make_backend());
  const auto save_by = [&](HypervisorBackend& backend, const X86VcpuState& state) {
    auto memory = make_memory({{Gpa{0}, 4 * kMib}});
    auto vm = must(backend.create_vm({.vcpus = 1}));
    must(vm->map(*memory, Access::kReadWriteExecute));
    return without_clock(save(*make_vcpu(*vm, state)));
  };
  auto [memory, vm] = make_vm();
  auto vcpu = make_vcpu(*vm, place(*memory, general_registers()));
  ASSERT_TRUE(std::holds_alternative<ExitIoWrite>(must(vcpu->run())));
  X86VcpuState saved = save(*vcpu);
  saved.system.cr2 = 0xabc000;
  saved.events.nmi_masked = true;
  EXPECT_EQ(save_by(*shared_backend, saved), without_clock(saved));
  EXPECT_EQ(save_by(backend(), saved), without_clock(saved));
}

TEST_F(VcpuStateTest, SavedStateNamesWhatTheGuestWasGiven) {
  auto [memory, vm] = make_vm();
  auto vcpu = make_vcpu(*vm, place(*memory, halt()));
  const X86VcpuState saved = save(*vcpu);
  EXPECT_FALSE(saved.cpuid.empty());
  EXPECT_FALSE(saved.msrs.empty());
  EXPECT_GT(saved.tsc_khz, 0U);
  EXPECT_GE(saved.xsave.size(), 576U);
  ASSERT_FALSE(saved.xcrs.empty());
  EXPECT_EQ(saved.xcrs[0].index, 0U);
}

TEST_F(VcpuStateTest, MissingCpuFeatureIsRefusedByName) {
  auto [memory, vm] = make_vm();
  auto vcpu = make_vcpu(*vm, place(*memory, halt()));
  X86VcpuState saved = save(*vcpu);
  auto leaf = std::find_if(saved.cpuid.begin(), saved.cpuid.end(),
                           [](const X86CpuidEntry& entry) { return entry.function == 0x80000001; });
  ASSERT_NE(leaf, saved.cpuid.end());
  leaf->ecx |= 1U << 21U;  // TBM: only ever on AMD family 15h.
  auto [memory_2, vm_2] = make_vm();
  auto vcpu_2 = must(vm_2->create_vcpu(0));
  const auto refused = vcpu_2->load_state(saved);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kMismatch);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("tbm"));
}

TEST_F(VcpuStateTest, XsaveComponentThatTheHostLacksIsRefusedByName) {
  auto [memory, vm] = make_vm();
  auto vcpu = make_vcpu(*vm, place(*memory, halt()));
  X86VcpuState saved = save(*vcpu);
  saved.xsave.resize(4096);
  std::uint64_t components = 0;
  std::memcpy(&components, saved.xsave.data() + 512, 8);
  components |= 1U << 19U;  // APX, which KVM does not offer without a request.
  std::memcpy(saved.xsave.data() + 512, &components, 8);
  const auto refused = vcpu->load_state(saved);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kMismatch);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("APX"));
}

TEST_F(VcpuStateTest, XsaveComponentAtAnotherPlaceIsRefused) {
  if (!has("avx512f")) {
    GTEST_SKIP() << "this processor has no AVX-512";
  }
  auto [memory, vm] = make_vm();
  X86VcpuState start = place(*memory, avx512_registers());
  must(memory->write(Gpa{kPatterns}, distinct_bytes(260)));
  start.general.rbx = kPatterns;
  auto vcpu = make_vcpu(*vm, start);
  ASSERT_TRUE(std::holds_alternative<ExitIoWrite>(must(vcpu->run())));
  X86VcpuState saved = save(*vcpu);
  auto leaf = std::find_if(saved.cpuid.begin(), saved.cpuid.end(), [](const X86CpuidEntry& entry) {
    return entry.function == 0xd && entry.index == 6;
  });
  ASSERT_NE(leaf, saved.cpuid.end());
  leaf->ebx += 64;
  auto [memory_2, vm_2] = make_vm();
  auto vcpu_2 = must(vm_2->create_vcpu(0));
  const auto refused = vcpu_2->load_state(saved);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kMismatch);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("ZMM_Hi256"));
}

TEST_F(VcpuStateTest, MsrThatTheHostRefusesIsNamed) {
  auto [memory, vm] = make_vm();
  X86VcpuState start = place(*memory, halt());
  start.msrs = {{0xc0000082, 0x8000000000000000}};  // IA32_LSTAR with an address that is not one.
  auto vcpu = must(vm->create_vcpu(0));
  const auto refused = vcpu->load_state(start);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kMismatch);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("IA32_LSTAR"));
}

TEST_F(VcpuStateTest, ImpossibleControlRegistersAreRefusedWithTheirValues) {
  auto [memory, vm] = make_vm();
  X86VcpuState start = place(*memory, halt());
  start.system.cr4 = 0x8000000000000620;
  auto vcpu = must(vm->create_vcpu(0));
  const auto refused = vcpu->load_state(start);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kMismatch);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("cr4 = 0x8000000000000620"));
}

TEST_F(VcpuStateTest, TruncatedXsaveImageIsRefused) {
  auto [memory, vm] = make_vm();
  X86VcpuState start = place(*memory, halt());
  start.xsave.resize(100);
  auto vcpu = must(vm->create_vcpu(0));
  EXPECT_EQ(vcpu->load_state(start).error().code, Errc::kInvalidArgument);
}

TEST_F(VcpuStateTest, StateOfAnotherArchitectureIsRefused) {
  auto [memory, vm] = make_vm();
  auto vcpu = must(vm->create_vcpu(0));
  const auto refused = vcpu->load_state(ToyVcpuState{});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kMismatch);
}

}  // namespace
}  // namespace stasis::kvm
