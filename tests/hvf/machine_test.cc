// Machines of the backend with an interrupt controller and several CPUs: what firmware and devices
// do for a guest, and all of it over a save and a load.
#include "core/machine.h"

#include <chrono>
#include <memory>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hvf/backend.h"
#include "tests/conformance/arm64_kit.h"
#include "tests/support/arm64_code.h"
#include "tests/support/must.h"
#include "tests/support/scripted_device.h"

namespace stasis::hvf {
namespace {

using conformance::kDataBegin;
using conformance::kDataBytes;
using conformance::kKitBegin;
using conformance::kKitBytes;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::uint64_t kPage = 0x4000;
constexpr std::uint64_t kDevice = std::uint64_t{1} << 30U;
constexpr std::uint32_t kLine = 8;      // INTID 40.
constexpr std::uint64_t kMarker = 100;  // A write that stops the guest for the test.
constexpr auto kPatience = std::chrono::minutes(2);

class HvfMachineTest : public testing::Test {
 protected:
  void SetUp() override {
    auto backend = make_backend();
    if (!backend) {
      GTEST_SKIP() << backend.error().to_string();
    }
    backend_ = *std::move(backend);
  }

  static std::unique_ptr<GuestMemory> make_memory() {
    const RegionSpec spec{.range = {kKitBegin, kKitBytes + kDataBytes}};
    return must(GuestMemory::create({&spec, 1}, kPage));
  }
  static VcpuState start_at(Gpa at, Arm64PowerState power = Arm64PowerState::kOn) {
    Arm64VcpuState state;
    state.pc = at.value;
    state.pstate = 0x3c5;
    state.power = power;
    return state;
  }
  // The first CPU begins at kKitBegin, the others are off.
  static MachineState fresh_state(std::uint32_t vcpus) {
    MachineState state;
    for (std::uint32_t i = 0; i < vcpus; ++i) {
      state.vcpus.push_back(
          start_at(kKitBegin, i == 0 ? Arm64PowerState::kOn : Arm64PowerState::kOff));
    }
    state.activities.assign(vcpus, VcpuActivity::kRunning);
    state.wake_pending.assign(vcpus, false);
    state.devices = {{"scripted", 1, {}}};
    return state;
  }
  // A device that raises kLine for a marker and holds the guest there, and lowers it for all else.
  std::unique_ptr<Machine> make_machine(std::unique_ptr<GuestMemory> memory,
                                        const MachineState& state) {
    device_ = std::make_shared<ScriptedDevice>();
    device_->on_write = [](const ScriptedDevice::Write& write, DeviceHost& host) {
      WriteOutcome outcome;
      const bool is_marker = write.data == kMarker;
      host.set_interrupt_line(kLine, is_marker ? LineLevel::kHigh : LineLevel::kLow);
      if (is_marker) {
        outcome.after = AfterWrite::kHold;
        outcome.event = MachineEvent{.kind = MachineEvent::Kind::kCheckpoint};
      }
      return outcome;
    };
    auto bus = std::make_unique<DeviceBus>();
    must(bus->attach(IoSpace::kMmio, kDevice, 0x1000, device_));
    MachineConfig config{.vcpus = static_cast<std::uint32_t>(state.vcpus.size())};
    config.initial_state = state;
    config.interrupt_controller = InterruptControllerKind::kGicV3;
    return must(Machine::create(*backend_, std::move(memory), std::move(bus), std::move(config)));
  }
  static MachineEvent next_event(Machine& machine) { return must(machine.wait_event(kPatience)); }
  // Into a new VM with the same memory.
  std::unique_ptr<Machine> move_to_new_vm(std::unique_ptr<Machine> machine) {
    must(machine->pause(kPatience));
    const MachineState state = must(machine->save_state());
    auto memory = make_memory();
    for (const MemoryRegion& region : machine->memory().regions()) {
      must(memory->write(region.range.begin, {region.host, region.range.size}));
    }
    machine.reset();
    auto moved = make_machine(std::move(memory), state);
    EXPECT_EQ(must(moved->save_state()), state);
    return moved;
  }
  [[nodiscard]] std::vector<std::uint64_t> written() const {
    std::vector<std::uint64_t> data;
    for (const ScriptedDevice::Write& write : device_->writes()) {
      data.push_back(write.data);
    }
    return data;
  }

  std::unique_ptr<HypervisorBackend> backend_;
  std::shared_ptr<ScriptedDevice> device_;
};

// Turns the second CPU on, waits until that has turned itself off, and ends the machine.
Arm64Code boss(Gpa second) {
  Arm64Code code;
  code.load_imm(9, kDevice).load_imm(0, kMarker).store(0, 9);
  code.load_imm(0, 0xc4000003).load_imm(1, 1).load_imm(2, second.value).load_imm(3, 0x55).hvc(0);
  code.store(0, 9);
  const Arm64Code::Label again = code.here();
  code.load_imm(0, 0xc4000004).load_imm(1, 1).load_imm(2, 0).hvc(0);
  code.sub_imm(4, 0, 1).branch_if_not_zero(4, again);  // Until AFFINITY_INFO says 1: off.
  return code.load_imm(0, 0x84000008).hvc(0);
}
Arm64Code helper() {
  return Arm64Code().load_imm(9, kDevice).store(0, 9).load_imm(0, 0x84000002).hvc(0);
}

TEST_F(HvfMachineTest, ACpuIsTurnedOnAndOffAndTheMachineEnds) {
  auto memory = make_memory();
  must(memory->write(kKitBegin, boss(kKitBegin + kPage).bytes()));
  must(memory->write(kKitBegin + kPage, helper().bytes()));
  auto machine = make_machine(std::move(memory), fresh_state(2));
  must(machine->resume());
  EXPECT_EQ(next_event(*machine).kind, MachineEvent::Kind::kCheckpoint);
  must(machine->pause(kPatience));
  const MachineState state = must(machine->save_state());
  EXPECT_EQ(std::get<Arm64VcpuState>(state.vcpus[0]).power, Arm64PowerState::kOn);
  EXPECT_EQ(std::get<Arm64VcpuState>(state.vcpus[1]).power, Arm64PowerState::kOff);
  machine = move_to_new_vm(std::move(machine));
  must(machine->resume());
  EXPECT_EQ(next_event(*machine).kind, MachineEvent::Kind::kExit);
  EXPECT_THAT(device_->writes(), testing::UnorderedElementsAre(ScriptedDevice::Write{kMarker, 0},
                                                               ScriptedDevice::Write{0, 0},
                                                               ScriptedDevice::Write{0x55, 1}));
}

TEST_F(HvfMachineTest, AResetIsAGuestThatFailed) {
  auto memory = make_memory();
  must(memory->write(kKitBegin, Arm64Code().load_imm(0, 0x84000009).hvc(0).bytes()));
  const auto machine = make_machine(std::move(memory), fresh_state(1));
  must(machine->resume());
  const MachineEvent event = next_event(*machine);
  EXPECT_EQ(event.kind, MachineEvent::Kind::kGuestFailed);
  EXPECT_THAT(event.message, HasSubstr("started again"));
}

// Switches the controller on, says so, and then lets its interrupts in; the handler reports them.
Arm64Code interrupted_guest(Gpa vectors) {
  Arm64Code code;
  const auto set = [&code](std::uint64_t offset, std::uint64_t value) {
    code.load_imm(1, kGicDistributor.value + offset).load_imm(2, value).store(2, 1, 4);
  };
  set(0, 2);
  set(0x84, 0xffffffff);
  set(0x104, 1U << kLine);
  code.load_imm(1, 0xf0).write_system(0xc230 /* ICC_PMR_EL1 */, 1);
  code.load_imm(1, 1).write_system(0xc667 /* ICC_IGRPEN1_EL1 */, 1);
  code.load_imm(1, vectors.value).write_system(0xc600 /* VBAR_EL1 */, 1).isb();
  code.load_imm(9, kDevice).load_imm(0, kMarker).store(0, 9);
  code.word(0xd50342ff);  // MSR DAIFClr, #2: IRQ.
  const Arm64Code::Label wait = code.here();
  return code.wfi().branch(wait);
}
Arm64Code report_interrupt() {
  Arm64Code code;
  code.read_system(5, 0xc660 /* ICC_IAR1_EL1 */).store(5, 9).write_system(0xc661, 5);
  return code.load_imm(0, 0x84000008).hvc(0);
}

TEST_F(HvfMachineTest, ALineThatWasHighAtTheSaveInterruptsAfterTheLoad) {
  auto memory = make_memory();
  must(memory->write(kKitBegin, interrupted_guest(kDataBegin).bytes()));
  must(memory->write(kDataBegin + 0x280, report_interrupt().bytes()));
  auto machine = make_machine(std::move(memory), fresh_state(1));
  must(machine->resume());
  EXPECT_EQ(next_event(*machine).kind, MachineEvent::Kind::kCheckpoint);
  machine = move_to_new_vm(std::move(machine));
  must(machine->resume());
  EXPECT_EQ(next_event(*machine).kind, MachineEvent::Kind::kExit);
  EXPECT_THAT(written(), ElementsAre(kMarker, 40));
}

TEST_F(HvfMachineTest, AStateIsLoadedIntoAMachineThatHasRun) {
  auto memory = make_memory();
  must(memory->write(kKitBegin, interrupted_guest(kDataBegin).bytes()));
  must(memory->write(kDataBegin + 0x280, report_interrupt().bytes()));
  const auto machine = make_machine(std::move(memory), fresh_state(1));
  must(machine->resume());
  EXPECT_EQ(next_event(*machine).kind, MachineEvent::Kind::kCheckpoint);
  must(machine->pause(kPatience));
  const MachineState state = must(machine->save_state());
  for (int round = 0; round < 3; ++round) {
    must(machine->resume());
    EXPECT_EQ(next_event(*machine).kind, MachineEvent::Kind::kExit) << round;
    must(machine->pause(kPatience));
    must(machine->load_state(state));
    EXPECT_EQ(must(machine->save_state()), state) << round;
  }
}

TEST_F(HvfMachineTest, AStateWithAControllerNeedsAMachineWithOne) {
  auto memory = make_memory();
  MachineState state = fresh_state(1);
  state.devices.push_back({std::string(kGicName), 1, {}});
  auto bus = std::make_unique<DeviceBus>();
  must(bus->attach(IoSpace::kMmio, kDevice, 0x1000, std::make_shared<ScriptedDevice>()));
  MachineConfig config;
  config.initial_state = state;
  const auto refused =
      Machine::create(*backend_, std::move(memory), std::move(bus), std::move(config));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kMismatch);
  EXPECT_THAT(refused.error().message, HasSubstr("interrupt controller 'gicv3'"));
}

TEST_F(HvfMachineTest, EightCpusComeAndGoInAnyOrder) {
  // Each turns the next one on; the last ends the machine.
  constexpr std::uint32_t kVcpus = 8;
  auto memory = make_memory();
  // X0 is the number of this CPU, its context.
  Arm64Code code;
  code.load_imm(9, kDevice).store(0, 9).add_imm(1, 0, 1).add_imm(3, 0, 1);
  code.sub_imm(4, 1, kVcpus);
  const Arm64Code::Label decide = code.here();
  code.branch_if_not_zero(4, decide + 4);
  code.load_imm(0, 0x84000008).hvc(0);
  ASSERT_EQ(code.here(), decide + 4) << "MOVZ, MOVK, HVC";
  code.load_imm(0, 0xc4000003).load_imm(2, kKitBegin.value).hvc(0);
  code.load_imm(0, 0x84000002).hvc(0);
  must(memory->write(kKitBegin, code.bytes()));
  const auto machine = make_machine(std::move(memory), fresh_state(kVcpus));
  must(machine->resume());
  EXPECT_EQ(next_event(*machine).kind, MachineEvent::Kind::kExit);
  EXPECT_THAT(written(), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
}

}  // namespace
}  // namespace stasis::hvf
