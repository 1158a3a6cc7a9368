// What a guest sees of registers that the host set, and the host of those that the guest changed;
// the virtual timer; guest time.
#include <bit>
#include <map>
#include <random>
#include <thread>

#include "hvf/framework_registers.h"
#include "hvf/register_table.h"
#include "hvf/registers.h"
#include "tests/hvf/sim_fixture.h"
#include "tests/support/must.h"

namespace stasis::hvf {
namespace {

class SimStateTest : public SimGuestTest {
 protected:
  static constexpr std::uint64_t kLeave = kPage;  // HVC #0, and a loop behind it.
  static constexpr std::uint64_t kSpin = kPage + 4;

  void SetUp() override {
    SimGuestTest::SetUp();
    put(kLeave, Arm64Code().hvc(0).branch(1));
  }
};

// The bits that mean something for a guest that only leaves again: whatever else a register has is
// for the CPU to keep or not. Timers and translation stay off.
std::uint64_t usable_bits(std::uint16_t encoding) {
  static const std::map<std::uint16_t, std::uint64_t> bits_of = {
      {HV_SYS_REG_SCTLR_EL1, 0x30d00800},
      {HV_SYS_REG_ACTLR_EL1, 2},
      {HV_SYS_REG_CPACR_EL1, 0x300000},
      {HV_SYS_REG_TTBR0_EL1, 0xffff00000000f000},
      {HV_SYS_REG_TTBR1_EL1, 0xffff00000000f000},
      {HV_SYS_REG_TCR_EL1, 0x3f003f},
      {HV_SYS_REG_SPSR_EL1, 0xf00003c5},
      {HV_SYS_REG_ESR_EL1, 0xffffffff},
      {HV_SYS_REG_AFSR0_EL1, 0},
      {HV_SYS_REG_AFSR1_EL1, 0},
      {HV_SYS_REG_AMAIR_EL1, 0},
      {HV_SYS_REG_VBAR_EL1, 0xfffffffff800},
      {HV_SYS_REG_CONTEXTIDR_EL1, 0xffffffff},
      {HV_SYS_REG_CNTKCTL_EL1, 0x3},
      {HV_SYS_REG_CSSELR_EL1, 0x3},
      {HV_SYS_REG_MDSCR_EL1, 0x1000},
      {HV_SYS_REG_MDCCINT_EL1, 0},
      {HV_SYS_REG_CNTV_CTL_EL0, 0},
      {HV_SYS_REG_FAR_EL1, 0xffffffffffff},
      {HV_SYS_REG_ELR_EL1, 0xffffffffffff},
  };
  const bool is_debug = encoding >= 0x8004 && encoding <= 0x807f && encoding != 0x8010 &&
                        encoding != HV_SYS_REG_MDSCR_EL1;
  if (is_debug) {
    return (encoding & 1U) == 0 ? 0xfffffffffffc : 0;  // Addresses; controls stay off.
  }
  const auto found = bits_of.find(encoding);
  return found == bits_of.end() ? UINT64_MAX : found->second;
}

Arm64VcpuState with_random_values(Arm64VcpuState state, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  for (auto& x : state.x) {
    x = random();
  }
  for (auto& q : state.q) {
    q = {random(), random()};
  }
  state.pstate = kEl1Masked | 0x80000000;
  state.sp_el0 = random();
  state.sp_el1 = random();
  state.fpcr = 0x01400000;
  state.fpsr = 0x0800009f;
  for (Arm64SystemRegister& reg : state.system) {
    if (!is_identity(find_system_register(reg.encoding)->role)) {
      reg.value = random() & usable_bits(reg.encoding);
    }
  }
  state.virtual_timer = {random() & 0xffffffff, true};
  return state;
}

TEST_F(SimStateTest, TheWholeTableSurvivesARunAndOtherVcpus) {
  SimVcpu vcpu(kLeave);
  const auto file = make_framework_registers(vcpu.handle(), GicPresence::kAbsent);
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    Arm64VcpuState state = with_random_values(must(save_registers(*file)), seed);
    state.pc = kLeave;
    must(load_registers(state, *file));
    std::thread([&] {  // Another vCPU with other values does not disturb it.
      SimVcpu other(kLeave);
      const auto others = make_framework_registers(other.handle(), GicPresence::kAbsent);
      Arm64VcpuState noise = with_random_values(must(save_registers(*others)), seed + 100);
      noise.pc = kLeave;
      must(load_registers(noise, *others));
      EXPECT_TRUE(is_hvc(other.run(), 0));
    })
        .join();
    ASSERT_TRUE(is_hvc(vcpu.run(), 0));
    state.pc += 4;
    const Arm64VcpuState after = must(save_registers(*file));
    for (std::size_t i = 0; i < state.system.size(); ++i) {
      EXPECT_EQ(after.system[i].value, state.system[i].value)
          << find_system_register(state.system[i].encoding)->name;
    }
    EXPECT_EQ(after, state);
  }
}

TEST_F(SimStateTest, AGuestReadsWhatTheHostSetAndTheHostWhatTheGuestWrote) {
  constexpr std::uint32_t kFpcr = 0xda20;  // FPCR: op0 3, op1 3, CRn 4, CRm 4, op2 0.
  Arm64Code code;
  code.read_system(1, HV_SYS_REG_TPIDR_EL1).read_system(2, HV_SYS_REG_MPIDR_EL1);
  code.read_system(3, HV_SYS_REG_ID_AA64PFR0_EL1).read_system(4, kFpcr);
  code.write_system(HV_SYS_REG_TPIDR_EL0, 5).write_system(HV_SYS_REG_CONTEXTIDR_EL1, 5);
  code.word(0x4e080ca0 /* DUP V0.2D, X5 */);
  put(0, code.hvc(1));
  SimVcpu vcpu;
  vcpu.set(HV_SYS_REG_CPACR_EL1, 0x300000);
  vcpu.set(HV_SYS_REG_TPIDR_EL1, 0x1234567890);
  vcpu.set(HV_SYS_REG_MPIDR_EL1, 5);
  vcpu.set(HV_SYS_REG_ID_AA64PFR0_EL1, 0x123);
  vcpu.set(HV_REG_FPCR, 0x01000000);
  vcpu.set(HV_REG_X5, 0xabcdef12);
  ASSERT_TRUE(is_hvc(vcpu.run(), 1));
  EXPECT_EQ(vcpu.get(HV_REG_X1), 0x1234567890U);
  EXPECT_EQ(vcpu.get(HV_REG_X2), 0x80000005U);
  EXPECT_EQ(vcpu.get(HV_REG_X3), 0x123U) << "also identity registers";
  EXPECT_EQ(vcpu.get(HV_REG_X4), 0x01000000U);
  EXPECT_EQ(vcpu.get(HV_SYS_REG_TPIDR_EL0), 0xabcdef12U);
  EXPECT_EQ(vcpu.get(HV_SYS_REG_CONTEXTIDR_EL1), 0xabcdef12U);
  hv_simd_fp_uchar16_t q0 = {};
  ASSERT_EQ(hv_vcpu_get_simd_fp_reg(vcpu.handle(), HV_SIMD_FP_REG_Q0, &q0), HV_SUCCESS);
  const auto halves = std::bit_cast<std::array<std::uint64_t, 2>>(q0);
  EXPECT_EQ(halves, (std::array<std::uint64_t, 2>{0xabcdef12, 0xabcdef12}));
}

TEST_F(SimStateTest, ANewVcpuKnowsNothingOfTheOneBefore) {
  {
    SimVcpu vcpu(kLeave);
    vcpu.set(HV_SYS_REG_TPIDR_EL1, 77);
    vcpu.set(HV_REG_X9, 78);
    ASSERT_TRUE(is_hvc(vcpu.run(), 0));
  }
  SimVcpu vcpu(kLeave);
  EXPECT_EQ(vcpu.get(HV_SYS_REG_TPIDR_EL1), 0U);
  ASSERT_TRUE(is_hvc(vcpu.run(), 0));
  EXPECT_EQ(vcpu.get(HV_SYS_REG_TPIDR_EL1), 0U);
  EXPECT_EQ(vcpu.get(HV_REG_X9), 0U);
}

TEST_F(SimStateTest, ATimerLeavesTheGuestOnceAndIsMaskedThen) {
  SimVcpu vcpu(kSpin);
  vcpu.set(HV_SYS_REG_CNTV_CVAL_EL0, 0);  // Has been reached.
  vcpu.set(HV_SYS_REG_CNTV_CTL_EL0, 1);
  EXPECT_EQ(vcpu.run().reason, HV_EXIT_REASON_VTIMER_ACTIVATED);
  bool is_masked = false;
  ASSERT_EQ(hv_vcpu_get_vtimer_mask(vcpu.handle(), &is_masked), HV_SUCCESS);
  EXPECT_TRUE(is_masked);
  EXPECT_EQ(vcpu.get(HV_SYS_REG_CNTV_CTL_EL0), 5U) << "ISTATUS and ENABLE";
  vcpu.set(HV_REG_PC, kLeave);
  EXPECT_TRUE(is_hvc(vcpu.run(), 0)) << "masked: the guest runs on";
  ASSERT_EQ(hv_vcpu_set_vtimer_mask(vcpu.handle(), false), HV_SUCCESS);
  EXPECT_EQ(vcpu.run().reason, HV_EXIT_REASON_VTIMER_ACTIVATED) << "the condition still holds";
}

TEST_F(SimStateTest, ATimerThatComesWhileTheVcpuIsOutIsNotLost) {
  SimVcpu vcpu(kLeave);
  vcpu.set(HV_SYS_REG_CNTV_CVAL_EL0, mach_absolute_time() + 24'000'000 / 20);  // In 50 ms.
  vcpu.set(HV_SYS_REG_CNTV_CTL_EL0, 1);
  const hv_vcpu_exit_t first = vcpu.run();
  while ((vcpu.get(HV_SYS_REG_CNTV_CTL_EL0) & 4U) == 0) {
    std::this_thread::yield();
  }
  if (first.reason != HV_EXIT_REASON_VTIMER_ACTIVATED) {  // On a slow host it fires at once.
    EXPECT_TRUE(is_hvc(first, 0));
    EXPECT_EQ(vcpu.run().reason, HV_EXIT_REASON_VTIMER_ACTIVATED);
  }
}

TEST_F(SimStateTest, AnInterruptLineIsTakenByTheGuestAndFallsWithTheExit) {
  constexpr std::uint64_t kVectors = 2 * kPage;
  put(kVectors + 0x280, Arm64Code().hvc(7));  // IRQ, current exception level with its own stack.
  put(kVectors + 0x300, Arm64Code().hvc(8));  // FIQ.
  SimVcpu vcpu(kSpin);
  vcpu.set(HV_SYS_REG_VBAR_EL1, kVectors);
  vcpu.set(HV_REG_CPSR, 0x305);  // I and F clear.
  ASSERT_EQ(hv_vcpu_set_pending_interrupt(vcpu.handle(), HV_INTERRUPT_TYPE_IRQ, true), HV_SUCCESS);
  EXPECT_TRUE(is_hvc(vcpu.run(), 7));
  EXPECT_EQ(vcpu.get(HV_SYS_REG_ELR_EL1), kSpin);
  vcpu.set(HV_REG_PC, kLeave);
  vcpu.set(HV_REG_CPSR, 0x305);
  EXPECT_TRUE(is_hvc(vcpu.run(), 0)) << "the line fell with the exit";
  ASSERT_EQ(hv_vcpu_set_pending_interrupt(vcpu.handle(), HV_INTERRUPT_TYPE_FIQ, true), HV_SUCCESS);
  EXPECT_TRUE(is_hvc(vcpu.run(), 8));
}

TEST_F(SimStateTest, TheOffsetDecidesWhatTheGuestCounts) {
  constexpr std::uint32_t kCntvct = 0xdf02, kCntfrq = 0xdf00;
  put(0, Arm64Code().isb().read_system(1, kCntvct).read_system(2, kCntfrq).hvc(0));
  SimVcpu vcpu;
  const std::uint64_t before = mach_absolute_time();
  ASSERT_TRUE(is_hvc(vcpu.run(), 0));
  const std::uint64_t after = mach_absolute_time();
  EXPECT_GE(vcpu.get(HV_REG_X1), before);
  EXPECT_LE(vcpu.get(HV_REG_X1), after);
  EXPECT_EQ(vcpu.get(HV_REG_X2), 24'000'000U);
  // Time that stood still while the guest was out: it goes on from where it stopped.
  const std::uint64_t stopped = vcpu.get(HV_REG_X1);
  while (mach_absolute_time() - after < 24'000'000 / 10) {
    std::this_thread::yield();
  }
  const std::uint64_t now = mach_absolute_time();
  ASSERT_EQ(hv_vcpu_set_vtimer_offset(vcpu.handle(), now - stopped), HV_SUCCESS);
  vcpu.set(HV_REG_PC, 0);
  ASSERT_TRUE(is_hvc(vcpu.run(), 0));
  const std::uint64_t in_run = mach_absolute_time() - now;
  EXPECT_GE(vcpu.get(HV_REG_X1), stopped);
  EXPECT_LE(vcpu.get(HV_REG_X1), stopped + in_run) << "the pause is not in it";
}

}  // namespace
}  // namespace stasis::hvf
