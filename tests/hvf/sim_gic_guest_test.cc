// Guests of the simulation that get interrupts from the framework's controller.
#include <os/object.h>

#include <thread>
#include <vector>

#include "tests/hvf/sim_fixture.h"

namespace stasis::hvf {
namespace {

constexpr std::uint32_t kIar1 = 0xc660, kEoir1 = 0xc661, kSgi1r = 0xc65d;
constexpr std::uint64_t kVectors = 8 * kPage;
constexpr std::uint64_t kIrqVector = kVectors + 0x280;  // From EL1 with its own stack.
constexpr std::uint64_t kEl1Open = 0x345;               // EL1h, D, A and F masked, I not.
constexpr std::uint64_t kSgiFrame = 0x10000;
constexpr std::uint64_t kDistributor = 0x50000000, kRedistributors = 0x500a0000;

// The handler puts the acknowledged number into X20, counts in X21 and ends the interrupt.
Arm64Code handler() {
  return Arm64Code()
      .read_system(20, kIar1)
      .add_imm(21, 21, 1)
      .write_system(kEoir1, 20)
      .hvc(7)
      .word(0xd69f03e0U);  // ERET
}

class SimGicGuestTest : public SimGuestTest {
 protected:
  void SetUp() override {
    SimGuestTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    hv_gic_config_t config = hv_gic_config_create();
    ASSERT_EQ(hv_gic_config_set_distributor_base(config, kDistributor), HV_SUCCESS);
    ASSERT_EQ(hv_gic_config_set_redistributor_base(config, kRedistributors), HV_SUCCESS);
    ASSERT_EQ(hv_gic_create(config), HV_SUCCESS);
    os_release(config);
    put(kIrqVector, handler());
    ASSERT_EQ(hv_gic_set_distributor_reg(HV_GIC_DISTRIBUTOR_REG_GICD_CTLR, 2), HV_SUCCESS);
    set_distributor(0x80 + 4, 0xffffffff);
    set_distributor(0x100 + 4, 0xffffffff);
  }
  static void set_distributor(std::uint64_t offset, std::uint64_t value) {
    ASSERT_EQ(hv_gic_set_distributor_reg(static_cast<hv_gic_distributor_reg_t>(offset), value),
              HV_SUCCESS);
  }
  // All private interrupts on, of group 1, and the CPU interface open; interrupts not masked.
  static void open(const SimVcpu& vcpu, std::uint64_t affinity = 0) {
    const auto set = [&](std::uint64_t offset, std::uint64_t value) {
      ASSERT_EQ(hv_gic_set_redistributor_reg(
                    vcpu.handle(), static_cast<hv_gic_redistributor_reg_t>(offset), value),
                HV_SUCCESS);
    };
    set(kSgiFrame + 0x80, 0xffffffff);
    set(kSgiFrame + 0x100, 0xffffffff);
    ASSERT_EQ(hv_gic_set_icc_reg(vcpu.handle(), HV_GIC_ICC_REG_PMR_EL1, 0xff), HV_SUCCESS);
    ASSERT_EQ(hv_gic_set_icc_reg(vcpu.handle(), HV_GIC_ICC_REG_IGRPEN1_EL1, 1), HV_SUCCESS);
    ASSERT_EQ(hv_vcpu_set_sys_reg(vcpu.handle(), HV_SYS_REG_MPIDR_EL1, affinity), HV_SUCCESS);
    ASSERT_EQ(hv_vcpu_set_sys_reg(vcpu.handle(), HV_SYS_REG_VBAR_EL1, kVectors), HV_SUCCESS);
    ASSERT_EQ(hv_vcpu_set_reg(vcpu.handle(), HV_REG_CPSR, kEl1Open), HV_SUCCESS);
  }
};

TEST_F(SimGicGuestTest, ALineThatIsHighInterruptsTheGuestWithoutAnExit) {
  put(0, Arm64Code().branch(0));
  SimVcpu vcpu;
  open(vcpu);
  ASSERT_EQ(hv_gic_set_spi(40, true), HV_SUCCESS);
  EXPECT_TRUE(is_hvc(vcpu.run(), 7)) << "from its handler";
  EXPECT_EQ(vcpu.get(HV_REG_X20), 40U);
  ASSERT_EQ(hv_gic_set_spi(40, false), HV_SUCCESS);
  hv_vcpu_t handle = vcpu.handle();
  ASSERT_EQ(hv_vcpus_exit(&handle, 1), HV_SUCCESS);
  EXPECT_EQ(vcpu.run().reason, HV_EXIT_REASON_CANCELED);
  EXPECT_EQ(vcpu.get(HV_REG_X21), 1U);
}

TEST_F(SimGicGuestTest, ALineThatRisesReachesAGuestThatRuns) {
  Arm64Code code;
  code.load_imm(1, kData).load_imm(2, 1).store(2, 1);
  put(0, code.branch(code.here()));
  SimVcpu vcpu;
  open(vcpu);
  std::thread other([&] {
    while (peek(kData) == 0) {
      std::this_thread::yield();
    }
    EXPECT_EQ(hv_gic_set_spi(41, true), HV_SUCCESS);
  });
  EXPECT_TRUE(is_hvc(vcpu.run(), 7));
  EXPECT_EQ(vcpu.get(HV_REG_X20), 41U);
  other.join();
}

TEST_F(SimGicGuestTest, AGuestThatWaitsIsWokenByALineAndByACancellation) {
  put(0, Arm64Code().wfi().branch(0));
  SimVcpu vcpu;
  open(vcpu);
  std::thread other([] { EXPECT_EQ(hv_gic_set_spi(42, true), HV_SUCCESS); });
  EXPECT_TRUE(is_hvc(vcpu.run(), 7));
  other.join();
  ASSERT_EQ(hv_gic_set_spi(42, false), HV_SUCCESS);
  hv_vcpu_t handle = vcpu.handle();
  std::thread canceler([&] { EXPECT_EQ(hv_vcpus_exit(&handle, 1), HV_SUCCESS); });
  EXPECT_EQ(vcpu.run().reason, HV_EXIT_REASON_CANCELED);
  canceler.join();
}

TEST_F(SimGicGuestTest, TheVirtualTimerInterruptsWithoutAnExitOfItsOwn) {
  put(0, Arm64Code().wfi().branch(0));
  SimVcpu vcpu;
  open(vcpu);
  for (std::uint64_t round = 1; round <= 3; ++round) {
    vcpu.set(HV_SYS_REG_CNTV_CVAL_EL0, mach_absolute_time() + 24'000);
    vcpu.set(HV_SYS_REG_CNTV_CTL_EL0, 1);
    EXPECT_TRUE(is_hvc(vcpu.run(), 7));
    EXPECT_EQ(vcpu.get(HV_REG_X20), 27U);
    EXPECT_EQ(vcpu.get(HV_REG_X21), round);
    vcpu.set(HV_SYS_REG_CNTV_CTL_EL0, 0);
  }
}

TEST_F(SimGicGuestTest, AGuestProgramsItsControllerThroughTheFrames) {
  Arm64Code code;
  code.load_imm(1, kDistributor + 0x6000 + 8 * 43).load_imm(2, 0x123).store(2, 1);
  code.load_imm(1, kDistributor + 0x400 + 43).load_imm(2, 0x58).store(2, 1, 1);
  code.load_imm(1, kRedistributors + 8).load(3, 1);
  code.load_imm(1, kRedistributors + kSgiFrame + 0x180).load_imm(2, 1U << 27U).store(2, 1, 4);
  put(0, code.hvc(1));
  SimVcpu vcpu;
  open(vcpu);
  EXPECT_TRUE(is_hvc(vcpu.run(), 1));
  EXPECT_EQ(vcpu.get(HV_REG_X3), 1U << 4U) << "GICR_TYPER.Last";
  std::uint64_t value = 0;
  ASSERT_EQ(
      hv_gic_get_distributor_reg(static_cast<hv_gic_distributor_reg_t>(0x6000 + 8 * 43), &value),
      HV_SUCCESS);
  EXPECT_EQ(value, 0x123U);
  ASSERT_EQ(hv_gic_get_distributor_reg(static_cast<hv_gic_distributor_reg_t>(0x400 + 40), &value),
            HV_SUCCESS);
  EXPECT_EQ(value >> 24U, 0x58U);
  ASSERT_EQ(
      hv_gic_get_redistributor_reg(vcpu.handle(), HV_GIC_REDISTRIBUTOR_REG_GICR_ISENABLER0, &value),
      HV_SUCCESS);
  EXPECT_EQ(value, 0xf7ffffffU);
}

TEST_F(SimGicGuestTest, AVcpuInterruptsAnotherThatWaits) {
  put(0, Arm64Code().wfi().branch(0));
  put(kPage, Arm64Code().load_imm(1, std::uint64_t{3} << 24U | 1).write_system(kSgi1r, 1).hvc(2));
  SimVcpu target;
  open(target, 0);
  std::thread sender([&] {
    SimVcpu vcpu(kPage);
    open(vcpu, 1);
    EXPECT_TRUE(is_hvc(vcpu.run(), 2));
  });
  EXPECT_TRUE(is_hvc(target.run(), 7));
  EXPECT_EQ(target.get(HV_REG_X20), 3U);
  sender.join();
}

TEST_F(SimGicGuestTest, TheWholeStateIsNotReplacedUnderAGuestThatHasRun) {
  put(0, Arm64Code().hvc(1));
  SimVcpu vcpu;
  EXPECT_TRUE(is_hvc(vcpu.run(), 1));
  const hv_gic_state_t state = hv_gic_state_create();
  ASSERT_NE(state, nullptr);
  std::size_t size = 0;
  ASSERT_EQ(hv_gic_state_get_size(state, &size), HV_SUCCESS);
  std::vector<std::byte> bytes(size);
  ASSERT_EQ(hv_gic_state_get_data(state, bytes.data()), HV_SUCCESS);
  os_release(state);
  EXPECT_EQ(hv_gic_set_state(bytes.data(), size), HV_BUSY);
}

}  // namespace
}  // namespace stasis::hvf
