// A vCPU's state through the framework's own calls, here those of the simulation.
#include "hvf/framework_registers.h"

#include <algorithm>
#include <random>
#include <thread>

#include <Hypervisor/Hypervisor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hvf/register_table.h"
#include "hvf/registers.h"
#include "tests/hvf/sim_fixture.h"
#include "tests/support/must.h"

namespace stasis::hvf {
namespace {

class FrameworkRegistersTest : public testing::Test {
 protected:
  void SetUp() override {
    skip_without_engine();
    if (!IsSkipped()) {
      begin();
    }
  }
  void TearDown() override {
    if (file_ != nullptr) {
      end();
    }
  }

  // A new VM with one vCPU, as for a restore.
  void begin() {
    ASSERT_EQ(hv_vm_create(nullptr), HV_SUCCESS);
    hv_vcpu_exit_t* exit = nullptr;
    ASSERT_EQ(hv_vcpu_create(&vcpu_, &exit, nullptr), HV_SUCCESS);
    file_ = make_framework_registers(vcpu_, GicPresence::kAbsent);
  }
  void end() {
    file_.reset();
    EXPECT_EQ(hv_vcpu_destroy(vcpu_), HV_SUCCESS);
    EXPECT_EQ(hv_vm_destroy(), HV_SUCCESS);
  }

  hv_vcpu_t vcpu_ = 0;
  std::unique_ptr<RegisterFile> file_;
};

// A state as save_registers() made it, with all that is not identity replaced.
Arm64VcpuState scrambled(Arm64VcpuState state) {
  std::mt19937_64 random(7);
  for (auto& x : state.x) {
    x = random();
  }
  for (auto& q : state.q) {
    q = {random(), random()};
  }
  state.pc = random();
  state.pstate = 0x3c5;
  state.sp_el0 = random();
  state.sp_el1 = random();
  state.fpcr = random();
  state.fpsr = random();
  for (Arm64SystemRegister& reg : state.system) {
    if (reg.encoding == HV_SYS_REG_ACTLR_EL1) {
      reg.value = 2;
    } else if (!is_identity(find_system_register(reg.encoding)->role)) {
      reg.value = random();
    }
  }
  state.virtual_timer = {random(), true};
  state.irq_pending = true;
  return state;
}

TEST_F(FrameworkRegistersTest, AStateSurvivesIntoANewVm) {
  const Arm64VcpuState state = scrambled(must(save_registers(*file_)));
  must(load_registers(state, *file_));
  EXPECT_EQ(must(save_registers(*file_)), state);
  end();
  begin();
  EXPECT_NE(must(save_registers(*file_)), state);
  must(load_registers(state, *file_));
  EXPECT_EQ(must(save_registers(*file_)), state);
}

TEST_F(FrameworkRegistersTest, RegistersGoWhereTheFrameworkHasThem) {
  const Arm64VcpuState state = scrambled(must(save_registers(*file_)));
  must(load_registers(state, *file_));
  std::uint64_t value = 0;
  ASSERT_EQ(hv_vcpu_get_reg(vcpu_, HV_REG_X17, &value), HV_SUCCESS);
  EXPECT_EQ(value, state.x[17]);
  ASSERT_EQ(hv_vcpu_get_reg(vcpu_, HV_REG_CPSR, &value), HV_SUCCESS);
  EXPECT_EQ(value, 0x3c5U);
  ASSERT_EQ(hv_vcpu_get_sys_reg(vcpu_, HV_SYS_REG_SP_EL1, &value), HV_SUCCESS);
  EXPECT_EQ(value, state.sp_el1);
  ASSERT_EQ(hv_vcpu_get_vtimer_offset(vcpu_, &value), HV_SUCCESS);
  EXPECT_EQ(value, state.virtual_timer.offset);
  hv_simd_fp_uchar16_t vector = {};
  ASSERT_EQ(hv_vcpu_get_simd_fp_reg(vcpu_, HV_SIMD_FP_REG_Q31, &vector), HV_SUCCESS);
  EXPECT_EQ(vector[0], state.q[31].low & 0xffU);
  EXPECT_EQ(vector[15], state.q[31].high >> 56U);
  bool is_pending = false;
  ASSERT_EQ(hv_vcpu_get_pending_interrupt(vcpu_, HV_INTERRUPT_TYPE_FIQ, &is_pending), HV_SUCCESS);
  EXPECT_FALSE(is_pending);
  ASSERT_EQ(hv_vcpu_get_pending_interrupt(vcpu_, HV_INTERRUPT_TYPE_IRQ, &is_pending), HV_SUCCESS);
  EXPECT_TRUE(is_pending);
}

TEST_F(FrameworkRegistersTest, WithoutAGicThePhysicalTimerIsNotInTheState) {
  const Arm64VcpuState state = must(save_registers(*file_));
  const auto has = [&](std::uint16_t encoding) {
    return std::ranges::count(state.system, encoding, &Arm64SystemRegister::encoding) == 1;
  };
  EXPECT_FALSE(has(HV_SYS_REG_CNTP_CTL_EL0));
  EXPECT_FALSE(has(HV_SYS_REG_CNTP_CVAL_EL0));
  EXPECT_TRUE(has(HV_SYS_REG_CNTV_CVAL_EL0));
  EXPECT_TRUE(state.gic_cpu_interface.empty());
}

TEST_F(FrameworkRegistersTest, TheWrongThreadGetsAnErrorAndNotAnEmptyState) {
  std::thread([&] {
    const auto saved = save_registers(*file_);
    ASSERT_FALSE(saved);
    EXPECT_EQ(saved.error().code, Errc::kBackend);
    EXPECT_EQ(saved.error().os_error, HV_BAD_ARGUMENT);
    EXPECT_THAT(saved.error().message,
                testing::StartsWith("X0: Hypervisor.framework answers 0xfae94003"));
  }).join();
}

}  // namespace
}  // namespace stasis::hvf
