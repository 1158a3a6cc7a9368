// Guests of several vCPUs in the simulation, and calls from other threads while they run.
#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "tests/hvf/sim_fixture.h"

namespace stasis::hvf {
namespace {

class SimVcpusTest : public SimGuestTest {
 protected:
  static constexpr std::uint64_t kLoop = kPage;  // Counts at X1 for ever.

  void SetUp() override {
    SimGuestTest::SetUp();
    Arm64Code loop;
    loop.load_imm(0, 0);
    const Arm64Code::Label again = loop.here();
    put(kLoop, loop.add_imm(0, 0, 1).store(0, 1).branch(again));
  }

  void wait_for_change(std::uint64_t ipa, std::uint64_t from) const {
    while (peek(ipa) == from) {
      std::this_thread::yield();
    }
  }

  // Runs `code` at 0 on so many vCPUs at once, X1 = kData; each has to reach HVC #0.
  static void run_on_all(std::uint32_t vcpus) {
    std::vector<std::thread> threads;
    for (std::uint32_t i = 0; i < vcpus; ++i) {
      threads.emplace_back([] {
        SimVcpu vcpu;
        vcpu.set(HV_REG_X1, kData);
        const hv_vcpu_exit_t exit = vcpu.run();
        EXPECT_TRUE(is_hvc(exit, 0)) << std::hex << exit.exception.syndrome;
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
  }
};

class SimVcpuCounts : public SimVcpusTest, public testing::WithParamInterface<std::uint32_t> {};

INSTANTIATE_TEST_SUITE_P(Vcpus, SimVcpuCounts, testing::Values(2U, 4U, 8U));

TEST_P(SimVcpuCounts, AtomicInstructionsLoseNothing) {
  constexpr std::uint64_t kTimes = 50'000;
  Arm64Code code;
  code.load_imm(0, 1).load_imm(3, kTimes);
  const Arm64Code::Label loop = code.here();
  put(0, code.add_atomically(0, 1).sub_imm(3, 3, 1).branch_if_not_zero(3, loop).hvc(0));
  run_on_all(GetParam());
  EXPECT_EQ(peek(kData), GetParam() * kTimes);
}

TEST_P(SimVcpuCounts, ExclusivePairsLoseNothing) {
  constexpr std::uint64_t kTimes = 20'000;
  Arm64Code code;
  code.load_imm(3, kTimes);
  const Arm64Code::Label loop = code.here();
  code.load_exclusive(4, 1).add_imm(4, 4, 1).store_exclusive(5, 4, 1).branch_if_not_zero(5, loop);
  put(0, code.sub_imm(3, 3, 1).branch_if_not_zero(3, loop).hvc(0));
  run_on_all(GetParam());
  EXPECT_EQ(peek(kData), GetParam() * kTimes);
}

TEST_F(SimVcpusTest, ACancellationFromAnotherThreadGetsAGuestOut) {
  SimVcpu vcpu(kLoop);
  vcpu.set(HV_REG_X1, kData);
  for (int round = 0; round < 50; ++round) {
    const std::uint64_t before = peek(kData);
    std::thread canceller([&] {
      wait_for_change(kData, before);
      hv_vcpu_t handle = vcpu.handle();
      EXPECT_EQ(hv_vcpus_exit(&handle, 1), HV_SUCCESS);
    });
    EXPECT_EQ(vcpu.run().reason, HV_EXIT_REASON_CANCELED);
    canceller.join();
    const std::uint64_t pc = vcpu.get(HV_REG_PC);
    EXPECT_TRUE(pc >= kLoop + 4 && pc <= kLoop + 12) << std::hex << pc;
  }
}

TEST_F(SimVcpusTest, ACancellationThatComesAtAnyMomentIsNeverLost) {
  // Without waiting for the guest: before, while or after it enters.
  SimVcpu vcpu(kLoop);
  vcpu.set(HV_REG_X1, kData);
  for (int round = 0; round < 200; ++round) {
    std::thread canceller([&] {
      hv_vcpu_t handle = vcpu.handle();
      EXPECT_EQ(hv_vcpus_exit(&handle, 1), HV_SUCCESS);
    });
    EXPECT_EQ(vcpu.run().reason, HV_EXIT_REASON_CANCELED);
    canceller.join();
  }
}

TEST_F(SimVcpusTest, OneCancelledVcpuLeavesTheOthersIn) {
  std::atomic<hv_vcpu_t> first = 99, second = 99;
  std::atomic<bool> second_is_out = false;
  const auto run = [&](std::atomic<hv_vcpu_t>& handle, std::uint64_t counter) {
    SimVcpu vcpu(kLoop);
    vcpu.set(HV_REG_X1, counter);
    handle.store(vcpu.handle());
    EXPECT_EQ(vcpu.run().reason, HV_EXIT_REASON_CANCELED);
    second_is_out = second_is_out || &handle == &second;
  };
  std::thread one([&] { run(first, kData); });
  std::thread two([&] { run(second, kData + kPage); });
  wait_for_change(kData, 0);
  wait_for_change(kData + kPage, 0);
  hv_vcpu_t handle = first.load();
  ASSERT_EQ(hv_vcpus_exit(&handle, 1), HV_SUCCESS);
  one.join();
  EXPECT_FALSE(second_is_out);
  wait_for_change(kData + kPage, peek(kData + kPage));
  handle = second.load();
  ASSERT_EQ(hv_vcpus_exit(&handle, 1), HV_SUCCESS);
  two.join();
}

TEST_F(SimVcpusTest, AProtectionHoldsForAGuestThatRuns) {
  std::atomic<int> faults = 0;
  constexpr int kRounds = 20;
  std::thread runner([&] {
    SimVcpu vcpu(kLoop);
    vcpu.set(HV_REG_X1, kData);
    for (int round = 0; round < kRounds; ++round) {
      const hv_vcpu_exit_t exit = vcpu.run();
      ASSERT_EQ(exit.reason, HV_EXIT_REASON_EXCEPTION);
      EXPECT_EQ(exit.exception.physical_address, kData);
      faults.fetch_add(1);
      faults.notify_all();
      while (faults.load() != 0) {
        std::this_thread::yield();
      }
    }
  });
  for (int round = 0; round < kRounds; ++round) {
    wait_for_change(kData, peek(kData));  // It is in the guest.
    ASSERT_EQ(hv_vm_protect(kData, kPage, kReadExec), HV_SUCCESS);
    const std::uint64_t last = peek(kData);
    faults.wait(0);
    EXPECT_EQ(peek(kData), last) << "a store after the permission was gone";
    ASSERT_EQ(hv_vm_protect(kData, kPage, kAll), HV_SUCCESS);
    faults.store(0);
  }
  runner.join();
}

TEST_F(SimVcpusTest, AVcpuOfAnotherThreadIsRefusedWhileItRunsToo) {
  std::atomic<hv_vcpu_t> handle = 99;
  std::thread runner([&] {
    SimVcpu vcpu(kLoop);
    vcpu.set(HV_REG_X1, kData);
    handle.store(vcpu.handle());
    EXPECT_EQ(vcpu.run().reason, HV_EXIT_REASON_CANCELED);
  });
  wait_for_change(kData, 0);
  hv_vcpu_t running = handle.load();
  std::uint64_t value = 0;
  EXPECT_EQ(hv_vcpu_run(running), HV_BAD_ARGUMENT);
  EXPECT_EQ(hv_vcpu_get_reg(running, HV_REG_PC, &value), HV_BAD_ARGUMENT);
  EXPECT_EQ(hv_vcpu_set_sys_reg(running, HV_SYS_REG_SCTLR_EL1, 0), HV_BAD_ARGUMENT);
  EXPECT_EQ(hv_vcpu_destroy(running), HV_BAD_ARGUMENT);
  EXPECT_EQ(hv_vm_destroy(), HV_BUSY);
  EXPECT_EQ(hv_vcpus_exit(&running, 1), HV_SUCCESS);
  runner.join();
}

}  // namespace
}  // namespace stasis::hvf
