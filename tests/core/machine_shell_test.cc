// MachineShell: a VM begun before anybody knows what will run in it, on the mock.
#include "core/machine_shell.h"

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/device.h"
#include "core/machine.h"
#include "mock/assembler.h"
#include "mock/mock_backend.h"
#include "tests/support/must.h"

namespace stasis {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using enum mock::Register;

constexpr std::uint64_t kPage = 4096;

std::unique_ptr<GuestMemory> some_memory(std::uint64_t page_bytes = kPage) {
  const RegionSpec spec{.range = {Gpa{0}, 16 * page_bytes}};
  return must(GuestMemory::create({&spec, 1}, page_bytes));
}

// Counts in R4 for ever.
std::unique_ptr<GuestMemory> counting_memory() {
  auto memory = some_memory();
  mock::Assembler code(Gpa{0});
  const mock::Assembler::Label loop = code.here();
  code.add_imm(R4, R4, 1).jump(loop);
  must(code.write_to(*memory));
  return memory;
}

Result<std::unique_ptr<Machine>> complete(HypervisorBackend& backend,
                                          std::unique_ptr<MachineShell> shell,
                                          std::uint32_t vcpus) {
  return Machine::create(backend, counting_memory(), std::make_unique<DeviceBus>(),
                         {.vcpus = vcpus}, std::move(shell));
}

class MachineShellTest : public testing::Test {
 protected:
  std::unique_ptr<HypervisorBackend> backend_ =
      must(mock::make_mock_backend({.vms_per_process = 1}));
};

TEST_F(MachineShellTest, BecomesAMachineWithFewerVcpusThanItWasBegunFor) {
  MilestoneLog milestones;
  for (const std::uint32_t vcpus : {1U, 3U}) {
    auto shell = MachineShell::begin(*backend_, {.vcpus_max = 32, .milestones = &milestones});
    EXPECT_TRUE(milestones.at(Milestone::kVmCreated));
    const auto machine = must(complete(*backend_, std::move(shell), vcpus));
    must(machine->step(10));
    const MachineState state = must(machine->save_state());
    ASSERT_EQ(state.vcpus.size(), vcpus);
    for (const VcpuState& vcpu : state.vcpus) {
      EXPECT_EQ(std::get<ToyVcpuState>(vcpu).r[4], 5U);
    }
  }
}

// One VM a process: a shell that left anything behind would keep the next from being created.
TEST_F(MachineShellTest, LeavesNothingBehindWhenItIsGivenUp) {
  for (int i = 0; i < 3; ++i) {
    const auto shell = MachineShell::begin(*backend_, {});
  }
  must(complete(*backend_, nullptr, 1));
}

TEST_F(MachineShellTest, LeavesNothingBehindWhenTheMachineIsRefused) {
  for (int i = 0; i < 3; ++i) {
    auto shell = MachineShell::begin(*backend_, {.vcpus_max = 4});
    EXPECT_EQ(complete(*backend_, std::move(shell), 1000).error().code, Errc::kInvalidArgument);
    shell = MachineShell::begin(*backend_, {.vcpus_max = 4});
    const auto refused = Machine::create(*backend_, some_memory(16384),
                                         std::make_unique<DeviceBus>(), {}, std::move(shell));
    EXPECT_THAT(refused.error().message, HasSubstr("16384"));
  }
  must(complete(*backend_, nullptr, 1));
}

TEST_F(MachineShellTest, ReportsAVmThatCannotBeCreatedOnlyWhenItIsTaken) {
  const auto other = must(complete(*backend_, nullptr, 1));
  MilestoneLog milestones;
  auto shell = MachineShell::begin(*backend_, {.milestones = &milestones});
  EXPECT_FALSE(milestones.at(Milestone::kVmCreated));
  const auto refused = complete(*backend_, std::move(shell), 1);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("VM"));
}

TEST_F(MachineShellTest, ReportsACpuThatItCannotBePinnedTo) {
  auto shell = MachineShell::begin(*backend_, {.host_cpu = 100000});
  const auto refused = complete(*backend_, std::move(shell), 1);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("vCPU 0"));
  EXPECT_THAT(refused.error().message, HasSubstr("100000"));
}

}  // namespace
}  // namespace stasis
