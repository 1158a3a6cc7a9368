// What a Machine does on every backend.
#include <array>
#include <chrono>
#include <functional>
#include <string>

#include "core/machine.h"
#include "tests/conformance/conformance_fixture.h"
#include "tests/support/scripted_device.h"

namespace stasis::conformance {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using Kind = MachineEvent::Kind;

// Long enough for a busy host; every wait ends at its event, never at this.
constexpr auto kPatience = 30s;

class MachineConformance : public ConformanceTest {
 protected:
  using Program = std::function<Result<VcpuState>(GuestMemory&, std::uint32_t index)>;

  // A machine and what the test sees of it. Machine::memory() owns the memory.
  struct TestMachine {
    std::shared_ptr<ScriptedDevice> device;
    std::unique_ptr<Machine> machine;
  };

  TestMachine make_machine(const MachineConfig& config, std::unique_ptr<GuestMemory> memory,
                           std::shared_ptr<ScriptedDevice> device) {
    auto bus = std::make_unique<DeviceBus>();
    must(bus->attach(kit().report().space, kit().report().address, 4, device));
    return {device, must(Machine::create(backend(), std::move(memory), std::move(bus), config))};
  }

  static MachineState fresh_state(std::vector<VcpuState> vcpus) {
    MachineState state;
    state.activities.resize(vcpus.size());
    state.wake_pending.resize(vcpus.size());
    state.devices.push_back({"scripted", 1, {}});
    state.vcpus = std::move(vcpus);
    return state;
  }

  // Turns each report into a kCheckpoint event, and does `after` with all but kDone.
  static std::shared_ptr<ScriptedDevice> reporting_device(
      AfterWrite after = AfterWrite::kContinue) {
    auto device = std::make_shared<ScriptedDevice>();
    device->on_write = [after](const ScriptedDevice::Write& write, DeviceHost&) {
      MachineEvent event{Kind::kCheckpoint};
      event.value = write.data;
      return WriteOutcome{write.data == kDone ? AfterWrite::kContinue : after, event};
    };
    return device;
  }

  // `program` on each vCPU.
  TestMachine make_machine(const Program& program, MachineConfig config = {},
                           std::shared_ptr<ScriptedDevice> device = nullptr) {
    std::unique_ptr<GuestMemory> memory = make_memory();
    std::vector<VcpuState> states;
    for (std::uint32_t i = 0; i < config.vcpus; ++i) {
      states.push_back(must(program(*memory, i)));
    }
    config.initial_state = fresh_state(std::move(states));
    return make_machine(config, std::move(memory), device ? std::move(device) : reporting_device());
  }

  Program counting() {
    return [this](GuestMemory& memory, std::uint32_t index) {
      return kit().count_forever(memory, index, data_page(index).begin);
    };
  }
  Program reporting(std::vector<std::uint32_t> values) {
    return [this, values](GuestMemory& memory, std::uint32_t index) {
      return kit().report_values(memory, index, values);
    };
  }

  static MachineEvent next_event(Machine& machine) { return must(machine.wait_event(kPatience)); }
  static void expect_checkpoint(Machine& machine, std::uint64_t value) {
    const MachineEvent event = next_event(machine);
    EXPECT_EQ(event.kind, Kind::kCheckpoint) << event.message;
    EXPECT_EQ(event.value, value);
    EXPECT_GT(event.at, 0);
  }
};

INSTANTIATE_TEST_SUITE_P(Backend, MachineConformance, testing::ValuesIn(backend_cases()),
                         name_of_case);

TEST_P(MachineConformance, RunsToTheEndAndSaysThatEveryVcpuHasHalted) {
  TestMachine test = make_machine(reporting({3, 4}));
  EXPECT_TRUE(test.machine->is_paused());
  must(test.machine->resume());
  EXPECT_FALSE(test.machine->is_paused());
  expect_checkpoint(*test.machine, 3);
  expect_checkpoint(*test.machine, 4);
  expect_checkpoint(*test.machine, kDone);
  EXPECT_EQ(next_event(*test.machine).kind, Kind::kHalted);
  must(test.machine->pause(kPatience));
  EXPECT_EQ(must(test.machine->save_state()).activities[0], VcpuActivity::kHalted);
  EXPECT_EQ(test.machine->counters().io_exits, 3U);
}

TEST_P(MachineConformance, AMachineThatStartsRunningNeedsNoResume) {
  MilestoneLog milestones;
  milestones.record(Milestone::kBegin);
  TestMachine test =
      make_machine(reporting({9}), {.start = StartMode::kRunning, .milestones = &milestones});
  expect_checkpoint(*test.machine, 9);
  std::int64_t before = 0;
  for (const Milestone milestone : {Milestone::kVmCreated, Milestone::kMapped}) {
    ASSERT_TRUE(milestones.since_begin(milestone).has_value()) << name_of(milestone);
    EXPECT_GE(*milestones.since_begin(milestone), before);
    before = *milestones.since_begin(milestone);
  }
  ASSERT_TRUE(milestones.since_begin(Milestone::kState).has_value());
  ASSERT_TRUE(milestones.since_begin(Milestone::kVcpuEnter).has_value());
  EXPECT_GE(*milestones.since_begin(Milestone::kVcpuEnter), before);
  EXPECT_GE(*milestones.since_begin(Milestone::kVcpuEnter),
            *milestones.since_begin(Milestone::kState));
}

TEST_P(MachineConformance, APausedMachineStandsStillAndGoesOn) {
  TestMachine test = make_machine(counting(), {.vcpus = 2});
  GuestMemory& memory = test.machine->memory();
  for (int round = 0; round < 5; ++round) {
    const std::uint64_t before0 = peek(memory, data_page(0).begin);
    const std::uint64_t before1 = peek(memory, data_page(1).begin);
    must(test.machine->resume());
    wait_for_change(memory, data_page(0).begin, before0);
    wait_for_change(memory, data_page(1).begin, before1);
    must(test.machine->pause(kPatience));
    must(test.machine->pause(kPatience));  // Idempotent.
    const std::uint64_t paused0 = must(memory.read_object<std::uint64_t>(data_page(0).begin));
    const std::uint64_t paused1 = must(memory.read_object<std::uint64_t>(data_page(1).begin));
    (void)must(test.machine->save_state());
    EXPECT_EQ(peek(memory, data_page(0).begin), paused0);
    EXPECT_EQ(peek(memory, data_page(1).begin), paused1);
  }
}

TEST_P(MachineConformance, AHeldVcpuWaitsForResume) {
  TestMachine test = make_machine(reporting({1, 2}), {}, reporting_device(AfterWrite::kHold));
  must(test.machine->resume());
  expect_checkpoint(*test.machine, 1);
  must(test.machine->resume());  // Without a pause: releases the hold.
  expect_checkpoint(*test.machine, 2);
  must(test.machine->pause(kPatience));
  const Result<MachineEvent> none = test.machine->wait_event(0ns);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::kInvalidArgument);
  must(test.machine->resume());
  expect_checkpoint(*test.machine, kDone);
}

TEST_P(MachineConformance, AParkedVcpuWaitsForAWakeUp) {
  TestMachine test = make_machine(reporting({1, 2}), {}, reporting_device(AfterWrite::kPark));
  must(test.machine->resume());
  expect_checkpoint(*test.machine, 1);
  must(test.machine->pause(kPatience));
  EXPECT_EQ(must(test.machine->save_state()).activities[0], VcpuActivity::kParked);
  must(test.machine->resume());  // Does not wake it.
  const Result<MachineEvent> none = test.machine->wait_event(1ms);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::kTimeout);
  test.machine->device_host().wake(0);
  expect_checkpoint(*test.machine, 2);
}

TEST_P(MachineConformance, AWakeUpBeforeTheParkIsNotLost) {
  TestMachine test = make_machine(reporting({1}), {}, reporting_device(AfterWrite::kPark));
  test.machine->device_host().wake(0);
  EXPECT_TRUE(must(test.machine->save_state()).wake_pending[0]);
  must(test.machine->resume());
  expect_checkpoint(*test.machine, 1);
  expect_checkpoint(*test.machine, kDone);
}

TEST_P(MachineConformance, ASavedMachineGoesOnInAnother) {
  MachineState state;
  std::vector<std::byte> bytes(kKitBytes + kDataBytes);
  {
    TestMachine test =
        make_machine(reporting({1, 2, 3}), {.vcpus = 2}, reporting_device(AfterWrite::kPark));
    must(test.machine->resume());
    expect_checkpoint(*test.machine, 1);
    expect_checkpoint(*test.machine, 1);
    must(test.machine->pause(kPatience));
    test.machine->device_host().wake(1);
    state = must(test.machine->save_state());
    must(test.machine->memory().read(kKitBegin, bytes));
  }
  EXPECT_THAT(state.activities, ElementsAre(VcpuActivity::kParked, VcpuActivity::kRunning));
  std::unique_ptr<GuestMemory> memory = make_memory();
  must(memory->write(kKitBegin, bytes));
  MachineConfig config{.vcpus = 2, .start = StartMode::kRunning};
  config.initial_state = state;
  TestMachine test = make_machine(config, std::move(memory), reporting_device(AfterWrite::kPark));
  const MachineEvent event = next_event(*test.machine);
  EXPECT_EQ(event.vcpu, 1U) << "the parked vCPU went on without a wake-up";
  EXPECT_EQ(event.value, 2U);
  test.machine->device_host().wake(0);
  EXPECT_EQ(next_event(*test.machine).vcpu, 0U);
  EXPECT_THAT(test.device->writes().front().data, 1U) << "the device's state was not loaded";
}

TEST_P(MachineConformance, LoadStatePutsAMachineBack) {
  TestMachine test = make_machine(reporting({1, 2}), {}, reporting_device(AfterWrite::kHold));
  const MachineState begin = must(test.machine->save_state());
  for (int round = 0; round < 3; ++round) {
    must(test.machine->resume());
    expect_checkpoint(*test.machine, 1);
    must(test.machine->resume());
    expect_checkpoint(*test.machine, 2);
    must(test.machine->pause(kPatience));
    must(test.machine->load_state(begin));
  }
}

TEST_P(MachineConformance, AStateOfAnotherMachineIsAMismatch) {
  TestMachine test = make_machine(reporting({1}), {.vcpus = 2});
  const MachineState good = must(test.machine->save_state());
  MachineState state = good;
  state.vcpus.pop_back();
  EXPECT_EQ(test.machine->load_state(state).error().code, Errc::kMismatch);
  state = good;
  state.devices[0].name = "another";
  EXPECT_EQ(test.machine->load_state(state).error().code, Errc::kMismatch);
  state = good;
  state.devices.clear();
  EXPECT_EQ(test.machine->load_state(state).error().code, Errc::kMismatch);
  must(test.machine->load_state(good));  // Nothing was half loaded.
  must(test.machine->resume());
  expect_checkpoint(*test.machine, 1);
}

TEST_P(MachineConformance, AFailedGuestIsReportedAndNotResumed) {
  TestMachine test = make_machine(
      [this](GuestMemory& memory, std::uint32_t index) { return kit().fail(memory, index); });
  must(test.machine->resume());
  const MachineEvent event = next_event(*test.machine);
  EXPECT_EQ(event.kind, Kind::kGuestFailed);
  EXPECT_THAT(event.message, HasSubstr("vCPU 0"));
  const Result<void> again = test.machine->resume();
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::kGuestFault);
}

TEST_P(MachineConformance, AFailedDeviceEndsTheMachine) {
  auto device = std::make_shared<ScriptedDevice>();
  device->on_write = [](const ScriptedDevice::Write&, DeviceHost&) {
    return Result<WriteOutcome>(Error{Errc::kIo, 0, "the disk is gone"});
  };
  TestMachine test = make_machine(reporting({1}), {}, device);
  must(test.machine->resume());
  const MachineEvent event = next_event(*test.machine);
  EXPECT_EQ(event.kind, Kind::kHostFailed);
  EXPECT_THAT(event.message, HasSubstr("'scripted': the disk is gone"));
  EXPECT_FALSE(test.machine->resume());
}

TEST_P(MachineConformance, WhereNoDeviceAnswersReadsAreAllOnes) {
  std::unique_ptr<GuestMemory> memory = make_memory();
  MachineConfig config;
  config.initial_state = fresh_state({must(kit().read_device(*memory, 0, kDataBegin))});
  config.initial_state->devices.clear();
  const auto machine =
      must(Machine::create(backend(), std::move(memory), std::make_unique<DeviceBus>(), config));
  must(machine->resume());
  EXPECT_EQ(next_event(*machine).kind, Kind::kHalted);
  must(machine->pause(kPatience));
  EXPECT_EQ(peek(machine->memory(), kDataBegin), 0xffffffffU);
  EXPECT_EQ(machine->counters().unclaimed_accesses, 2U);  // The read, and the report of kDone.
}

TEST_P(MachineConformance, ALoopingGuestDoesNotHoldUpTheDestructor) {
  TestMachine test = make_machine(counting(), {.vcpus = 2, .start = StartMode::kRunning});
  wait_for_change(test.machine->memory(), data_page(1).begin, 0);
  test.machine.reset();
}

TEST_P(MachineConformance, AbsurdNumbersOfVcpusAreRefused) {
  for (const std::uint32_t vcpus : {0U, capabilities().vcpus_max + 1, UINT32_MAX}) {
    const auto refused =
        Machine::create(backend(), make_memory(), std::make_unique<DeviceBus>(), {.vcpus = vcpus});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
    EXPECT_THAT(refused.error().message, HasSubstr(std::to_string(kVcpusMax)));
  }
}

TEST_P(MachineConformance, AStateThatTheCpuCannotHoldFailsTheCreation) {
  MachineConfig config;
  config.initial_state =
      fresh_state({capabilities().architecture == Architecture::kToy ? VcpuState(X86VcpuState{})
                                                                     : VcpuState(ToyVcpuState{})});
  config.initial_state->devices.clear();
  const auto refused =
      Machine::create(backend(), make_memory(), std::make_unique<DeviceBus>(), config);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kMismatch);
  EXPECT_THAT(refused.error().message, HasSubstr("vCPU 0"));
  // Nothing is left behind: where only one VM may live, the next one does.
  TestMachine test = make_machine(reporting({1}));
  must(test.machine->resume());
  expect_checkpoint(*test.machine, 1);
}

TEST_P(MachineConformance, SteppingIsExactOrRefused) {
  TestMachine test = make_machine(counting(), {.vcpus = 2});
  const Result<void> stepped = test.machine->step(1000);
  if (!capabilities().instruction_budget) {
    ASSERT_FALSE(stepped);
    EXPECT_EQ(stepped.error().code, Errc::kNotSupported);
    return;
  }
  must(test.machine->step(234));
  for (const VcpuState& state : must(test.machine->save_state()).vcpus) {
    EXPECT_EQ(std::get<ToyVcpuState>(state).instructions, 1234U);
  }
}

TEST_P(MachineConformance, ManyVcpusRunInParallel) {
  const std::uint32_t vcpus = std::min(capabilities().vcpus_max, 8U);
  TestMachine test = make_machine(
      [this](GuestMemory& memory, std::uint32_t index) {
        return kit().add_atomically(memory, index, data_page(1).begin, 1000);
      },
      {.vcpus = vcpus, .start = StartMode::kRunning});
  while (next_event(*test.machine).kind != Kind::kHalted) {
  }
  EXPECT_EQ(peek(test.machine->memory(), data_page(1).begin), vcpus * 1000U);
}

}  // namespace
}  // namespace stasis::conformance
