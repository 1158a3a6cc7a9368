// The rules of Hypervisor.framework as the simulation enforces them, through its C functions.
#include <os/object.h>

#include <cstddef>
#include <cstdint>
#include <set>
#include <thread>
#include <vector>

#include <Hypervisor/Hypervisor.h>
#include <gtest/gtest.h>

#include "tests/hvf/sim_fixture.h"

namespace stasis::hvf {
namespace {

// Runs `action` on another thread and waits for it.
template <typename Action>
auto elsewhere(const Action& action) {
  decltype(action()) result{};
  std::thread([&] { result = action(); }).join();
  return result;
}

class SimFrameworkTest : public testing::Test {
 protected:
  void SetUp() override { skip_without_engine(); }
  // The VM of this process is gone after each test, or the next one could not make its own.
  void TearDown() override {
    for (hv_vcpu_t vcpu = 0; vcpu < 64; ++vcpu) {
      hv_vcpu_destroy(vcpu);
    }
    const hv_return_t code = hv_vm_destroy();
    EXPECT_TRUE(code == HV_SUCCESS || code == HV_NO_DEVICE);
  }

  static hv_vcpu_t make_vcpu() {
    hv_vcpu_t vcpu = 99;
    hv_vcpu_exit_t* exit = nullptr;
    EXPECT_EQ(hv_vcpu_create(&vcpu, &exit, nullptr), HV_SUCCESS);
    EXPECT_NE(exit, nullptr);
    return vcpu;
  }

  static hv_return_t make_gic(hv_ipa_t distributor, hv_ipa_t redistributor) {
    hv_gic_config_t config = hv_gic_config_create();
    EXPECT_NE(config, nullptr);
    EXPECT_EQ(hv_gic_config_set_distributor_base(config, distributor), HV_SUCCESS);
    EXPECT_EQ(hv_gic_config_set_redistributor_base(config, redistributor), HV_SUCCESS);
    const hv_return_t code = hv_gic_create(config);
    os_release(config);
    return code;
  }
};

TEST_F(SimFrameworkTest, AProcessHasOneVmAtATime) {
  ASSERT_EQ(hv_vm_create(nullptr), HV_SUCCESS);
  EXPECT_EQ(hv_vm_create(nullptr), HV_BUSY);
  EXPECT_EQ(elsewhere([] { return hv_vm_create(nullptr); }), HV_BUSY);
  EXPECT_EQ(hv_vm_destroy(), HV_SUCCESS);
  EXPECT_EQ(hv_vm_create(nullptr), HV_SUCCESS) << "one after the other is fine";
}

TEST_F(SimFrameworkTest, WithoutAVmNothingWorks) {
  const HostMemory page(4 * kPage);
  hv_vcpu_t vcpu = 0;
  hv_vcpu_exit_t* exit = nullptr;
  EXPECT_NE(hv_vm_map(page.address(), 0, kPage, kAll), HV_SUCCESS);
  EXPECT_NE(hv_vm_unmap(0, kPage), HV_SUCCESS);
  EXPECT_NE(hv_vm_protect(0, kPage, kAll), HV_SUCCESS);
  EXPECT_NE(hv_vcpu_create(&vcpu, &exit, nullptr), HV_SUCCESS);
  EXPECT_NE(hv_vm_destroy(), HV_SUCCESS);
  EXPECT_EQ(hv_gic_config_create(), nullptr);
}

TEST_F(SimFrameworkTest, AVmWithVcpusIsNotDestroyed) {
  ASSERT_EQ(hv_vm_create(nullptr), HV_SUCCESS);
  const hv_vcpu_t vcpu = make_vcpu();
  EXPECT_EQ(hv_vm_destroy(), HV_BUSY);
  EXPECT_EQ(hv_vcpu_destroy(vcpu), HV_SUCCESS);
  EXPECT_EQ(hv_vm_destroy(), HV_SUCCESS);
}

TEST_F(SimFrameworkTest, MemoryGoesWithItsVm) {
  const HostMemory page(4 * kPage);
  ASSERT_EQ(hv_vm_create(nullptr), HV_SUCCESS);
  ASSERT_EQ(hv_vm_map(page.address(), kPage, kPage, kAll), HV_SUCCESS);
  EXPECT_EQ(hv_vm_map(page.address(), kPage, kPage, kAll), HV_ERROR);
  EXPECT_EQ(hv_vm_map(page.address() + 0x1000, 4 * kPage, kPage, kAll), HV_BAD_ARGUMENT);
  EXPECT_EQ(hv_vm_protect(kPage, kPage, HV_MEMORY_READ), HV_SUCCESS);
  ASSERT_EQ(hv_vm_destroy(), HV_SUCCESS);
  ASSERT_EQ(hv_vm_create(nullptr), HV_SUCCESS);
  EXPECT_EQ(hv_vm_protect(kPage, kPage, HV_MEMORY_READ), HV_BAD_ARGUMENT);
  EXPECT_EQ(hv_vm_map(page.address(), kPage, kPage, kAll), HV_SUCCESS);
  EXPECT_EQ(hv_vm_unmap(kPage, kPage), HV_SUCCESS);
}

TEST_F(SimFrameworkTest, HostMemoryThatIsNotThereOrMappedAlreadyIsRefused) {
  const HostMemory page(4 * kPage);
  ASSERT_EQ(hv_vm_create(nullptr), HV_SUCCESS);
  ASSERT_EQ(hv_vm_map(page.address(), 0, 2 * kPage, kAll), HV_SUCCESS);
  EXPECT_EQ(hv_vm_map(page.address() + kPage, 8 * kPage, kPage, kAll), HV_UNSUPPORTED) << "twice";
  std::byte* gone = nullptr;
  {
    const HostMemory other(kPage);
    gone = other.address();
  }
  EXPECT_EQ(hv_vm_map(gone, 8 * kPage, kPage, kAll), HV_BAD_ARGUMENT);
  EXPECT_EQ(hv_vm_protect(8 * kPage, kPage, kAll), HV_BAD_ARGUMENT) << "nothing was mapped";
}

TEST_F(SimFrameworkTest, TheConfigurationDecidesGranuleAndAddressSize) {
  const HostMemory page(4 * kPage);
  hv_vm_config_t config = hv_vm_config_create();
  std::uint32_t bits_max = 0;
  ASSERT_EQ(hv_vm_config_get_max_ipa_size(&bits_max), HV_SUCCESS);
  EXPECT_EQ(hv_vm_config_set_ipa_size(config, bits_max + 1), HV_BAD_ARGUMENT);
  EXPECT_EQ(hv_vm_config_set_ipa_granule(config, hv_ipa_granule_t{7}), HV_BAD_ARGUMENT);
  ASSERT_EQ(hv_vm_config_set_ipa_size(config, bits_max), HV_SUCCESS);
  ASSERT_EQ(hv_vm_config_set_ipa_granule(config, HV_IPA_GRANULE_4KB), HV_SUCCESS);
  ASSERT_EQ(hv_vm_create(config), HV_SUCCESS);
  os_release(config);
  const hv_ipa_t last = (hv_ipa_t{1} << bits_max) - 0x1000;
  EXPECT_EQ(hv_vm_map(page.address() + 0x1000, last, 0x1000, kAll), HV_SUCCESS);
  EXPECT_EQ(hv_vm_config_set_ipa_size(config, bits_max), HV_BAD_ARGUMENT) << "given back";
}

TEST_F(SimFrameworkTest, AThreadHasOneVcpuAndNobodyElseMayUseIt) {
  ASSERT_EQ(hv_vm_create(nullptr), HV_SUCCESS);
  const hv_vcpu_t vcpu = make_vcpu();
  hv_vcpu_t second = 0;
  hv_vcpu_exit_t* exit = nullptr;
  EXPECT_EQ(hv_vcpu_create(&second, &exit, nullptr), HV_BUSY);
  std::uint64_t value = 0;
  bool flag = false;
  const std::vector<hv_return_t> codes = elsewhere([&] {
    hv_simd_fp_uchar16_t vector = {};
    return std::vector<hv_return_t>{
        hv_vcpu_get_reg(vcpu, HV_REG_X0, &value),
        hv_vcpu_set_reg(vcpu, HV_REG_X0, 1),
        hv_vcpu_get_simd_fp_reg(vcpu, HV_SIMD_FP_REG_Q0, &vector),
        hv_vcpu_set_simd_fp_reg(vcpu, HV_SIMD_FP_REG_Q0, vector),
        hv_vcpu_get_sys_reg(vcpu, HV_SYS_REG_SCTLR_EL1, &value),
        hv_vcpu_set_sys_reg(vcpu, HV_SYS_REG_SCTLR_EL1, 1),
        hv_vcpu_get_pending_interrupt(vcpu, HV_INTERRUPT_TYPE_IRQ, &flag),
        hv_vcpu_set_pending_interrupt(vcpu, HV_INTERRUPT_TYPE_IRQ, true),
        hv_vcpu_get_vtimer_mask(vcpu, &flag),
        hv_vcpu_set_vtimer_mask(vcpu, true),
        hv_vcpu_get_vtimer_offset(vcpu, &value),
        hv_vcpu_set_vtimer_offset(vcpu, 1),
        hv_vcpu_run(vcpu),
        hv_vcpu_destroy(vcpu)};
  });
  EXPECT_EQ(codes, std::vector<hv_return_t>(codes.size(), HV_BAD_ARGUMENT));
  EXPECT_EQ(hv_vcpu_get_reg(vcpu, HV_REG_X0, &value), HV_SUCCESS);
  EXPECT_EQ(value, 0U) << "the other thread changed nothing";
  EXPECT_EQ(hv_vcpu_destroy(vcpu), HV_SUCCESS);
  EXPECT_EQ(hv_vcpu_destroy(vcpu), HV_BAD_ARGUMENT) << "twice";
  make_vcpu();
}

TEST_F(SimFrameworkTest, ThereAreAsManyVcpusAsTheFrameworkSays) {
  ASSERT_EQ(hv_vm_create(nullptr), HV_SUCCESS);
  std::uint32_t limit = 0;
  ASSERT_EQ(hv_vm_get_max_vcpu_count(&limit), HV_SUCCESS);
  std::set<hv_vcpu_t> handles;
  // Each thread makes its vCPU, then the next inside it, so that all exist at once.
  const auto nest = [&](const auto& self, std::uint32_t left) -> void {
    hv_vcpu_t vcpu = 0;
    hv_vcpu_exit_t* exit = nullptr;
    const hv_return_t code = hv_vcpu_create(&vcpu, &exit, nullptr);
    if (left == 0) {
      EXPECT_NE(code, HV_SUCCESS) << "one too many";
      return;
    }
    EXPECT_EQ(code, HV_SUCCESS);
    handles.insert(vcpu);
    std::thread([&] { self(self, left - 1); }).join();
    EXPECT_EQ(hv_vcpu_destroy(vcpu), HV_SUCCESS);
  };
  std::thread([&] { nest(nest, limit); }).join();
  EXPECT_EQ(handles.size(), limit);
}

TEST_F(SimFrameworkTest, ACancellationIsLatched) {
  ASSERT_EQ(hv_vm_create(nullptr), HV_SUCCESS);
  hv_vcpu_t vcpu = 0;
  hv_vcpu_exit_t* exit = nullptr;
  ASSERT_EQ(hv_vcpu_create(&vcpu, &exit, nullptr), HV_SUCCESS);
  ASSERT_EQ(hv_vcpu_set_pending_interrupt(vcpu, HV_INTERRUPT_TYPE_FIQ, true), HV_SUCCESS);
  exit->reason = HV_EXIT_REASON_UNKNOWN;
  EXPECT_EQ(elsewhere([&] { return hv_vcpus_exit(&vcpu, 1); }), HV_SUCCESS);
  EXPECT_EQ(hv_vcpus_exit(&vcpu, 1), HV_SUCCESS) << "requests do not add up";
  EXPECT_EQ(hv_vcpu_run(vcpu), HV_SUCCESS);
  EXPECT_EQ(exit->reason, HV_EXIT_REASON_CANCELED);
  bool pending = true;
  EXPECT_EQ(hv_vcpu_get_pending_interrupt(vcpu, HV_INTERRUPT_TYPE_FIQ, &pending), HV_SUCCESS);
  EXPECT_FALSE(pending) << "cleared by the run";
  EXPECT_EQ(hv_vcpu_run(vcpu), HV_SUCCESS);
  EXPECT_EQ(exit->reason, HV_EXIT_REASON_EXCEPTION) << "nothing is mapped at address 0";
  EXPECT_EQ(hv_vcpus_exit(nullptr, 0), HV_SUCCESS);
  hv_vcpu_t unknown = 17;
  EXPECT_EQ(hv_vcpus_exit(&unknown, 1), HV_BAD_ARGUMENT);
}

TEST_F(SimFrameworkTest, RegistersThatAreNotOfferedAreRefused) {
  ASSERT_EQ(hv_vm_create(nullptr), HV_SUCCESS);
  const hv_vcpu_t vcpu = make_vcpu();
  std::uint64_t value = 0;
  hv_simd_fp_uchar16_t vector = {};
  EXPECT_EQ(hv_vcpu_get_reg(vcpu, hv_reg_t{35}, &value), HV_BAD_ARGUMENT);
  EXPECT_EQ(hv_vcpu_get_simd_fp_reg(vcpu, hv_simd_fp_reg_t{32}, &vector), HV_BAD_ARGUMENT);
  EXPECT_EQ(hv_vcpu_get_sys_reg(vcpu, hv_sys_reg_t{0xdf02}, &value), HV_BAD_ARGUMENT)
      << "CNTVCT_EL0";
  EXPECT_EQ(hv_vcpu_get_sys_reg(vcpu, hv_sys_reg_t{0xd801}, &value), HV_BAD_ARGUMENT) << "CTR_EL0";
  EXPECT_EQ(hv_vcpu_set_sys_reg(vcpu, HV_SYS_REG_CNTP_CVAL_EL0, 1), HV_UNSUPPORTED) << "no GIC";
  EXPECT_EQ(hv_vcpu_set_pending_interrupt(vcpu, hv_interrupt_type_t{2}, true), HV_BAD_ARGUMENT);
}

TEST_F(SimFrameworkTest, SomeRegistersDoNotKeepEveryBit) {
  ASSERT_EQ(hv_vm_create(nullptr), HV_SUCCESS);
  const hv_vcpu_t vcpu = make_vcpu();
  std::uint64_t value = 0;
  ASSERT_EQ(hv_vcpu_set_sys_reg(vcpu, HV_SYS_REG_MPIDR_EL1, 3), HV_SUCCESS);
  ASSERT_EQ(hv_vcpu_get_sys_reg(vcpu, HV_SYS_REG_MPIDR_EL1, &value), HV_SUCCESS);
  EXPECT_EQ(value, 0x80000003U);
  ASSERT_EQ(hv_vcpu_set_sys_reg(vcpu, HV_SYS_REG_ACTLR_EL1, UINT64_MAX), HV_SUCCESS);
  ASSERT_EQ(hv_vcpu_get_sys_reg(vcpu, HV_SYS_REG_ACTLR_EL1, &value), HV_SUCCESS);
  EXPECT_EQ(value, 2U) << "EnTSO";
}

TEST_F(SimFrameworkTest, AGicComesAfterTheVmAndBeforeTheVcpus) {
  ASSERT_EQ(hv_vm_create(nullptr), HV_SUCCESS);
  EXPECT_EQ(make_gic(0x8001000, 0x80a0000), HV_BAD_ARGUMENT) << "unaligned";
  EXPECT_EQ(make_gic(0x80a0000, 0x8000000), HV_BAD_ARGUMENT) << "redistributors below";
  EXPECT_EQ(make_gic(0x8000000, 0x80a0000), HV_SUCCESS);
  EXPECT_NE(make_gic(0x8000000, 0x80a0000), HV_SUCCESS) << "a second one";
  const hv_vcpu_t first = make_vcpu();
  hv_ipa_t base = 0;
  EXPECT_EQ(hv_gic_get_redistributor_base(first, &base), HV_SUCCESS);
  EXPECT_EQ(base, 0x80a0000U);
  EXPECT_EQ(elsewhere([&] {
              const hv_vcpu_t second = make_vcpu();
              EXPECT_EQ(hv_gic_get_redistributor_base(second, &base), HV_SUCCESS);
              return hv_vcpu_destroy(second);
            }),
            HV_SUCCESS);
  EXPECT_EQ(base, 0x80c0000U) << "by the order of creation";
  EXPECT_EQ(hv_vcpu_set_sys_reg(first, HV_SYS_REG_CNTP_CVAL_EL0, 1), HV_SUCCESS);
}

TEST_F(SimFrameworkTest, AGicAfterTheFirstVcpuIsRefused) {
  ASSERT_EQ(hv_vm_create(nullptr), HV_SUCCESS);
  make_vcpu();
  EXPECT_NE(make_gic(0x8000000, 0x80a0000), HV_SUCCESS);
}

TEST_F(SimFrameworkTest, WithoutAGicEveryCallOnItSaysSo) {
  ASSERT_EQ(hv_vm_create(nullptr), HV_SUCCESS);
  const hv_vcpu_t vcpu = make_vcpu();
  std::uint64_t value = 0;
  EXPECT_EQ(hv_gic_get_icc_reg(vcpu, HV_GIC_ICC_REG_PMR_EL1, &value), HV_NO_DEVICE);
  EXPECT_EQ(hv_gic_get_distributor_reg(HV_GIC_DISTRIBUTOR_REG_GICD_CTLR, &value), HV_NO_DEVICE);
  EXPECT_EQ(hv_gic_get_redistributor_reg(vcpu, HV_GIC_REDISTRIBUTOR_REG_GICR_TYPER, &value),
            HV_NO_DEVICE);
  EXPECT_EQ(hv_gic_set_spi(32, true), HV_NO_DEVICE);
  EXPECT_EQ(hv_gic_reset(), HV_NO_DEVICE);
  EXPECT_EQ(hv_gic_state_create(), nullptr);
  EXPECT_EQ(hv_gic_set_state(&value, sizeof(value)), HV_NO_DEVICE);
}

TEST_F(SimFrameworkTest, TheRegistersOfAGicAreReadAndWrittenOneByOne) {
  ASSERT_EQ(hv_vm_create(nullptr), HV_SUCCESS);
  ASSERT_EQ(make_gic(0x8000000, 0x80a0000), HV_SUCCESS);
  const hv_vcpu_t vcpu = make_vcpu();
  std::uint64_t value = 0;
  ASSERT_EQ(hv_gic_set_icc_reg(vcpu, HV_GIC_ICC_REG_PMR_EL1, 0xff), HV_SUCCESS);
  ASSERT_EQ(hv_gic_get_icc_reg(vcpu, HV_GIC_ICC_REG_PMR_EL1, &value), HV_SUCCESS);
  EXPECT_EQ(value, 0xf8U) << "five bits of priority";
  EXPECT_EQ(hv_gic_set_icc_reg(vcpu, HV_GIC_ICC_REG_RPR_EL1, 0), HV_BAD_ARGUMENT) << "read-only";
  constexpr auto kIar1 = static_cast<hv_gic_icc_reg_t>(0xc660);
  EXPECT_EQ(hv_gic_get_icc_reg(vcpu, kIar1, &value), HV_BAD_ARGUMENT) << "acknowledges";
  constexpr auto kRoute40 = static_cast<hv_gic_distributor_reg_t>(0x6000 + 8 * 40);
  ASSERT_EQ(hv_gic_set_distributor_reg(kRoute40, 0x1'0000'0203), HV_SUCCESS);
  ASSERT_EQ(hv_gic_get_distributor_reg(kRoute40, &value), HV_SUCCESS);
  EXPECT_EQ(value, 0x1'0000'0203U);
  EXPECT_EQ(hv_gic_get_distributor_reg(hv_gic_distributor_reg_t{0x30}, &value), HV_BAD_ARGUMENT);
  EXPECT_EQ(hv_gic_get_distributor_reg(static_cast<hv_gic_distributor_reg_t>(0x6104), &value),
            HV_BAD_ARGUMENT)
      << "half of a route";
  ASSERT_EQ(hv_gic_get_redistributor_reg(vcpu, HV_GIC_REDISTRIBUTOR_REG_GICR_TYPER, &value),
            HV_SUCCESS);
  EXPECT_EQ(value, 1U << 4U) << "Last";
  EXPECT_EQ(elsewhere([&] { return hv_gic_get_icc_reg(vcpu, HV_GIC_ICC_REG_PMR_EL1, &value); }),
            HV_BAD_ARGUMENT)
      << "another thread's vCPU";
  EXPECT_EQ(hv_gic_set_spi(32, true), HV_SUCCESS);
  EXPECT_EQ(hv_gic_set_spi(1019, true), HV_SUCCESS);
  EXPECT_EQ(hv_gic_set_spi(31, true), HV_BAD_ARGUMENT);
  EXPECT_EQ(hv_gic_set_spi(1020, true), HV_BAD_ARGUMENT);
}

TEST_F(SimFrameworkTest, TheStateOfAGicIsReplacedBeforeAnyVcpuHasRun) {
  ASSERT_EQ(hv_vm_create(nullptr), HV_SUCCESS);
  ASSERT_EQ(make_gic(0x8000000, 0x80a0000), HV_SUCCESS);
  const hv_vcpu_t vcpu = make_vcpu();
  ASSERT_EQ(hv_gic_set_redistributor_reg(vcpu, HV_GIC_REDISTRIBUTOR_REG_GICR_ISENABLER0, 0x80),
            HV_SUCCESS);
  const hv_gic_state_t state = hv_gic_state_create();
  ASSERT_NE(state, nullptr);
  std::size_t size = 0;
  ASSERT_EQ(hv_gic_state_get_size(state, &size), HV_SUCCESS);
  std::vector<std::byte> bytes(size);
  ASSERT_EQ(hv_gic_state_get_data(state, bytes.data()), HV_SUCCESS);
  os_release(state);
  ASSERT_EQ(hv_gic_reset(), HV_SUCCESS);
  std::uint64_t value = 0;
  const auto enabled = [&] {
    EXPECT_EQ(hv_gic_get_redistributor_reg(vcpu, HV_GIC_REDISTRIBUTOR_REG_GICR_ISENABLER0, &value),
              HV_SUCCESS);
    return value;
  };
  EXPECT_EQ(enabled(), 0U);
  EXPECT_EQ(hv_gic_set_state(bytes.data(), size - 8), HV_BAD_ARGUMENT);
  EXPECT_EQ(hv_gic_set_state(bytes.data(), size), HV_SUCCESS);
  EXPECT_EQ(enabled(), 0x80U);
  EXPECT_EQ(elsewhere([&] {
              const hv_vcpu_t second = make_vcpu();
              const hv_return_t code = hv_gic_set_state(bytes.data(), size);
              EXPECT_EQ(hv_vcpu_destroy(second), HV_SUCCESS);
              return code;
            }),
            HV_BAD_ARGUMENT)
      << "of another number of vCPUs";
}

}  // namespace
}  // namespace stasis::hvf
