// Machine where time and threads matter: time-outs, wake-ups, holds, failures, dirty pages. On the
// mock; tests/conformance/ shows that it works on every backend.
#include "core/machine.h"

#include <array>
#include <atomic>
#include <chrono>
#include <latch>
#include <string>
#include <thread>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mock/assembler.h"
#include "mock/mock_backend.h"
#include "tests/support/must.h"
#include "tests/support/scripted_device.h"

namespace stasis {
namespace {

using namespace std::chrono_literals;
using mock::Assembler;
using testing::ElementsAre;
using testing::HasSubstr;
using enum mock::Register;
using Kind = MachineEvent::Kind;

constexpr auto kPatience = 30s;
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kMemory = 64 * kPage;
constexpr std::uint64_t kDevice = std::uint64_t{1} << 30;
constexpr Gpa kData{16 * kPage};

class MachineTest : public testing::Test {
 protected:
  // R0 is 0, R1 the vCPU's number, R2 the device, R3 the data page of the vCPU.
  std::unique_ptr<Machine> make(const Assembler& code, MachineConfig config = {}) {
    const RegionSpec spec{.range = {Gpa{0}, kMemory}};
    auto memory = must(GuestMemory::create({&spec, 1}, kPage));
    must(code.write_to(*memory));
    config.initial_state = MachineState{};
    for (std::uint32_t i = 0; i < config.vcpus; ++i) {
      ToyVcpuState state;
      state.r[1] = i;
      state.r[2] = kDevice;
      state.r[3] = kData.value + i * kPage;
      config.initial_state->vcpus.emplace_back(state);
    }
    config.initial_state->activities.resize(config.vcpus);
    config.initial_state->wake_pending.resize(config.vcpus);
    config.initial_state->devices.push_back(must(device_->save_state()));
    auto bus = std::make_unique<DeviceBus>();
    must(bus->attach(IoSpace::kMmio, kDevice, 8, device_));
    return must(Machine::create(*backend_, std::move(memory), std::move(bus), config));
  }
  // Writes R1 to the device again and again.
  static Assembler ringing() {
    Assembler code(Gpa{0});
    const Assembler::Label loop = code.here();
    code.store(R1, R2, 0, 8).jump(loop);
    return code;
  }
  static Assembler counting() {
    Assembler code(Gpa{0});
    const Assembler::Label loop = code.here();
    code.add_imm(R4, R4, 1).store(R4, R3, 0, 8).jump(loop);
    return code;
  }

  std::unique_ptr<HypervisorBackend> backend_ = must(mock::make_mock_backend({}));
  std::shared_ptr<ScriptedDevice> device_ = std::make_shared<ScriptedDevice>();
};

WriteOutcome checkpoint(AfterWrite after, std::uint64_t value = 0) {
  MachineEvent event{Kind::kCheckpoint};
  event.value = value;
  return {after, event};
}

TEST_F(MachineTest, APauseThatTimesOutNamesTheStuckVcpusAndLeavesTheMachineRunning) {
  std::latch inside(1);
  std::latch release(1);
  device_->on_write = [&](const ScriptedDevice::Write& write, DeviceHost&) {
    if (write.vcpu == 1) {
      inside.count_down();
      release.wait();
      return checkpoint(AfterWrite::kHold);
    }
    return WriteOutcome{};
  };
  const auto machine = make(ringing(), {.vcpus = 3, .start = StartMode::kRunning});
  inside.wait();
  // On a busy host the others may need some tries to be out of the guest.
  Result<void> late = machine->pause(10ms);
  for (int i = 0; i < 1000 && !late && late.error().message.find("vCPU 1 ") == std::string::npos;
       ++i) {
    late = machine->pause(10ms);
  }
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::kTimeout);
  EXPECT_THAT(late.error().message, HasSubstr("vCPU 1 "));
  EXPECT_FALSE(machine->is_paused());
  EXPECT_FALSE(machine->save_state()) << "a running machine cannot be saved";
  release.count_down();
  EXPECT_EQ(must(machine->wait_event(kPatience)).vcpu, 1U);
  must(machine->pause(kPatience));
}

TEST_F(MachineTest, AVcpuMayWakeAnotherWhileTheMachineIsBeingDestroyed) {
  std::latch inside(1);
  std::atomic<bool> woken = false;
  device_->on_write = [&](const ScriptedDevice::Write& write, DeviceHost& host) {
    if (write.vcpu == 1 && !inside.try_wait()) {
      inside.count_down();
      std::this_thread::sleep_for(50ms);  // Long enough for vCPU 0 to end.
      host.wake(0);
      woken = true;
    }
    return WriteOutcome{};
  };
  auto machine = make(ringing(), {.vcpus = 2, .start = StartMode::kRunning});
  inside.wait();
  machine.reset();
  EXPECT_TRUE(woken);
}

TEST_F(MachineTest, AVcpuParkedUntilATimeGoesOnByItself) {
  const MonotonicNs until = host_clock().now() + 20'000'000;
  device_->on_write = [&, rung = 0](const ScriptedDevice::Write&, DeviceHost&) mutable {
    if (rung++ == 0) {
      return WriteOutcome{.after = AfterWrite::kPark, .park_until = until};
    }
    return checkpoint(AfterWrite::kHold);
  };
  const auto machine = make(ringing(), {.start = StartMode::kRunning});
  // The two clocks of core/clock.h and of condition variables may run apart a little.
  EXPECT_GT(must(machine->wait_event(kPatience)).at, until - 1'000'000);
}

TEST_F(MachineTest, AVcpuParkedUntilATimeStaysOutsideWhileTheMachineIsPaused) {
  std::latch parked(1);
  device_->on_write = [&, first = true](const ScriptedDevice::Write&, DeviceHost&) mutable {
    if (std::exchange(first, false)) {
      parked.count_down();  // Not below zero: the guest may ring again before anyone waits.
    }
    return WriteOutcome{.after = AfterWrite::kPark, .park_until = host_clock().now()};
  };
  const auto machine = make(ringing());
  must(machine->resume());
  parked.wait();
  must(machine->pause(kPatience));
  const std::size_t rung = device_->writes().size();
  EXPECT_EQ(must(machine->save_state()).activities, std::vector{VcpuActivity::kRunning})
      << "the time is not saved: a restored vCPU has to ask again";
  EXPECT_EQ(device_->writes().size(), rung);
}

class TrappingDevice final : public Device, private TrapHandler {
 public:
  [[nodiscard]] std::string_view name() const override { return "scripted"; }
  Result<std::uint64_t> read(std::uint64_t, std::uint8_t, std::uint32_t, DeviceHost&) override {
    return std::uint64_t{0};
  }
  Result<WriteOutcome> write(std::uint64_t, std::uint8_t, std::uint64_t, std::uint32_t,
                             DeviceHost&) override {
    return Error{Errc::kInvalidArgument, 0, "on_trap() comes instead"};
  }
  [[nodiscard]] TrapHandler* trap_handler() override { return this; }
  [[nodiscard]] Result<DeviceState> save_state() const override {
    return DeviceState{"scripted", 1, {}};
  }
  Result<void> load_state(const DeviceState&) override { return {}; }

 private:
  Result<WriteOutcome> on_trap(std::uint64_t, X86TrapAccess&, DeviceHost&) override {
    return WriteOutcome{};
  }
  Result<WriteOutcome> on_interrupt(X86TrapAccess&, DeviceHost&) override { return WriteOutcome{}; }
  Result<InterruptPlan> before_entry(X86TrapAccess&, DeviceHost&) override {
    return InterruptPlan{};
  }
};

TEST_F(MachineTest, ATrapOnABackendWithoutRegisterAccessIsAHostFailureThatSaysSo) {
  const RegionSpec spec{.range = {Gpa{0}, kMemory}};
  auto memory = must(GuestMemory::create({&spec, 1}, kPage));
  must(ringing().write_to(*memory));
  MachineConfig config{.start = StartMode::kRunning};
  config.initial_state.emplace();
  ToyVcpuState state;
  state.r[2] = kDevice;
  config.initial_state->vcpus = {state};
  config.initial_state->activities.resize(1);
  config.initial_state->wake_pending.resize(1);
  config.initial_state->devices = {{"scripted", 1, {}}};
  auto bus = std::make_unique<DeviceBus>();
  must(bus->attach(IoSpace::kMmio, kDevice, 8, std::make_shared<TrappingDevice>()));
  const auto machine =
      must(Machine::create(*backend_, std::move(memory), std::move(bus), std::move(config)));
  const MachineEvent event = must(machine->wait_event(kPatience));
  EXPECT_EQ(event.kind, Kind::kHostFailed);
  EXPECT_THAT(event.message, HasSubstr("no access to registers"));
}

TEST_F(MachineTest, WhatNeedsAPausedMachineIsRefusedWhileItRuns) {
  const auto machine = make(counting(), {.start = StartMode::kRunning});
  EXPECT_EQ(machine->step(1).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(machine->save_state().error().code, Errc::kInvalidArgument);
  EXPECT_EQ(machine->load_state({}).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(machine->set_write_fault_handler(nullptr).error().code, Errc::kInvalidArgument);
  must(machine->pause(kPatience));
  EXPECT_TRUE(machine->save_state());
}

TEST_F(MachineTest, HugeTimeoutsDoNotWrap) {
  device_->on_write = [](const ScriptedDevice::Write&, DeviceHost&) {
    return checkpoint(AfterWrite::kHold);
  };
  const auto machine = make(ringing(), {.start = StartMode::kRunning});
  EXPECT_TRUE(machine->wait_event(std::chrono::nanoseconds::max()));
  EXPECT_TRUE(machine->pause(std::chrono::nanoseconds::max()));
}

TEST_F(MachineTest, WakeUpsThatRaceWithParkingAreNeverLost) {
  // Each ring parks and its answer is one wake-up, so the number of rings tells of a lost one. The
  // wake-up comes from another thread, before, during or after the park.
  std::atomic<std::uint32_t> rings = 0;
  device_->on_write = [&](const ScriptedDevice::Write&, DeviceHost&) {
    rings.fetch_add(1);
    rings.notify_all();
    return WriteOutcome{AfterWrite::kPark};
  };
  const auto machine = make(ringing(), {.start = StartMode::kRunning});
  for (std::uint32_t i = 0; i < 3000; ++i) {
    rings.wait(i);
    machine->device_host().wake(0);
  }
  must(machine->pause(kPatience));
  EXPECT_GE(rings.load(), 3000U);
}

TEST_F(MachineTest, AWakeUpWhilePausedIsKept) {
  device_->on_write = [](const ScriptedDevice::Write&, DeviceHost&) {
    return checkpoint(AfterWrite::kPark);
  };
  const auto machine = make(ringing(), {.start = StartMode::kRunning});
  must(machine->wait_event(kPatience));
  must(machine->pause(kPatience));
  machine->device_host().wake(0);
  machine->device_host().wake(99);  // No such vCPU: ignored.
  EXPECT_EQ(must(machine->save_state()).activities[0], VcpuActivity::kRunning);
  must(machine->resume());
  must(machine->wait_event(kPatience));
}

TEST_F(MachineTest, AHoldIsReleasedHoweverEarlyItsEventIsAnswered) {
  device_->on_write = [](const ScriptedDevice::Write&, DeviceHost&) {
    return checkpoint(AfterWrite::kHold);
  };
  const auto machine = make(ringing(), {.vcpus = 2, .start = StartMode::kRunning});
  for (int i = 0; i < 3000; ++i) {
    must(machine->wait_event(kPatience));
    must(machine->resume());
  }
}

TEST_F(MachineTest, PausesAndResumesInQuickSuccession) {
  const auto machine = make(counting(), {.vcpus = 3, .start = StartMode::kRunning});
  const auto counters = [&] {
    return must(machine->memory().read_object<std::array<std::uint64_t, 3 * kPage / 8>>(kData));
  };
  for (int i = 0; i < 500; ++i) {
    must(machine->pause(kPatience));
    const auto before = counters();
    (void)must(machine->save_state());
    ASSERT_EQ(counters(), before) << "a vCPU was in the guest";
    must(machine->resume());
  }
}

TEST_F(MachineTest, AMachineIsDestroyedWhateverItsVcpusDo) {
  std::atomic<std::uint64_t> writes = 0;
  device_->on_write = [&](const ScriptedDevice::Write& write, DeviceHost&) {
    writes.fetch_add(1);
    writes.notify_all();
    return WriteOutcome{write.vcpu == 0   ? AfterWrite::kPark
                        : write.vcpu == 1 ? AfterWrite::kHold
                                          : AfterWrite::kContinue};
  };
  for (int round = 0; round < 50; ++round) {
    writes = 0;
    auto machine = make(ringing(), {.vcpus = 4, .start = StartMode::kRunning});
    writes.wait(0);
    machine.reset();
    machine = make(ringing(), {.vcpus = 4});
    machine.reset();
  }
}

TEST_F(MachineTest, StepReturnsEarlyAtAHoldAndTheNextStepReleasesIt) {
  device_->on_write = [](const ScriptedDevice::Write&, DeviceHost&) {
    return checkpoint(AfterWrite::kHold);
  };
  const auto machine = make(ringing(), {.vcpus = 2});
  must(machine->step(100));  // vCPU 0 rings with its first instruction; vCPU 1 has no turn.
  EXPECT_EQ(must(machine->wait_event(kPatience)).vcpu, 0U);
  const MachineState state = must(machine->save_state());
  EXPECT_EQ(std::get<ToyVcpuState>(state.vcpus[0]).instructions, 1U);
  EXPECT_EQ(std::get<ToyVcpuState>(state.vcpus[1]).instructions, 0U);
  must(machine->step(2));  // The jump and the next ring.
  EXPECT_EQ(std::get<ToyVcpuState>(must(machine->save_state()).vcpus[0]).instructions, 3U);
  EXPECT_EQ(must(machine->wait_event(kPatience)).vcpu, 0U);
}

TEST_F(MachineTest, StepCountsDeviceAccessesAndStopsAtHalts) {
  Assembler code(Gpa{0});
  code.load(R4, R2, 0, 8).store(R4, R2, 0, 8).add_imm(R5, R4, 1).halt();
  device_->on_read = [] { return std::uint64_t{41}; };
  const auto machine = make(code, {.vcpus = 2});
  must(machine->step(3));
  for (const VcpuState& state : must(machine->save_state()).vcpus) {
    EXPECT_EQ(std::get<ToyVcpuState>(state).r[5], 42U);
    EXPECT_EQ(std::get<ToyVcpuState>(state).instructions, 3U);
  }
  must(machine->step(1000));
  EXPECT_THAT(must(machine->save_state()).activities,
              ElementsAre(VcpuActivity::kHalted, VcpuActivity::kHalted));
  EXPECT_EQ(must(machine->wait_event(0ns)).kind, Kind::kHalted);
}

TEST_F(MachineTest, AFullyHaltedMachineSaysSoAgainWhenResumed) {
  Assembler code(Gpa{0});
  code.halt();
  const auto machine = make(code, {.start = StartMode::kRunning});
  EXPECT_EQ(must(machine->wait_event(kPatience)).kind, Kind::kHalted);
  must(machine->pause(kPatience));
  must(machine->resume());
  EXPECT_EQ(must(machine->wait_event(kPatience)).kind, Kind::kHalted);
}

TEST_F(MachineTest, StepIsDeterministicWithSeveralVcpus) {
  // All vCPUs add to one shared number without atomics: the order of turns decides its value.
  Assembler code(Gpa{0});
  code.load_imm(R6, kData.value);
  const Assembler::Label loop = code.here();
  code.load(R4, R6, 0, 8).alu(mock::Opcode::kMul, R4, R4, R7).alu(mock::Opcode::kAdd, R4, R4, R1);
  code.add_imm(R7, R7, 3).store(R4, R6, 0, 8).jump(loop);
  std::vector<std::uint64_t> outcomes;
  for (int run = 0; run < 3; ++run) {
    const auto machine = make(code, {.vcpus = 3});
    for (int i = 0; i < 50; ++i) {
      must(machine->step(17));
    }
    outcomes.push_back(must(machine->memory().read_object<std::uint64_t>(kData)));
  }
  EXPECT_THAT(outcomes, testing::Each(outcomes[0]));
}

TEST_F(MachineTest, AFailedReadAnswersTheGuestAndEndsTheMachine) {
  Assembler code(Gpa{0});
  code.load(R4, R2, 0, 8).halt();
  device_->on_read = [] { return Result<std::uint64_t>(Error{Errc::kIo, 0, "unplugged"}); };
  const auto machine = make(code, {.start = StartMode::kRunning});
  const MachineEvent event = must(machine->wait_event(kPatience));
  EXPECT_EQ(event.kind, Kind::kHostFailed);
  EXPECT_THAT(event.message, HasSubstr("unplugged"));
  must(machine->pause(kPatience));
  EXPECT_TRUE(machine->save_state()) << "the vCPU must stand at an instruction boundary";
}

TEST_F(MachineTest, LoadStateHealsAFailedMachine) {
  Assembler code(Gpa{0});
  code.store(R1, R2, 0, 8).append({mock::Opcode::kIllegal});
  const auto machine = make(code);
  const MachineState begin = must(machine->save_state());
  must(machine->resume());
  EXPECT_EQ(must(machine->wait_event(kPatience)).kind, Kind::kGuestFailed);
  EXPECT_EQ(machine->resume().error().code, Errc::kGuestFault);
  must(machine->pause(kPatience));
  must(machine->load_state(begin));
  must(machine->resume());
  EXPECT_EQ(must(machine->wait_event(kPatience)).kind, Kind::kGuestFailed);
}

TEST_F(MachineTest, ARefusedMemoryFailsTheCreationOfEveryVcpu) {
  const RegionSpec spec{.range = {Gpa{0}, kMemory}};
  const auto refused =
      Machine::create(*backend_, must(GuestMemory::create({&spec, 1}, 16384)),
                      std::make_unique<DeviceBus>(), {.vcpus = 4, .start = StartMode::kRunning});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("16384"));
}

TEST_F(MachineTest, ARefusedVmFailsTheCreation) {
  const auto one_vm = must(mock::make_mock_backend({.vms_per_process = 1}));
  const auto first = must(one_vm->create_vm({}));
  const RegionSpec spec{.range = {Gpa{0}, kMemory}};
  const auto refused = Machine::create(*one_vm, must(GuestMemory::create({&spec, 1}, kPage)),
                                       std::make_unique<DeviceBus>(), {.vcpus = 4});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kBackend);
}

TEST_F(MachineTest, VcpuThreadsArePinnedOrTheCpuIsNamed) {
  const auto machine = make(counting(), {.vcpus = 2, .host_cpus = {0}});
  const RegionSpec spec{.range = {Gpa{0}, kMemory}};
  for (const int cpu : {-1, 1023, 1 << 20}) {
    const auto refused = Machine::create(*backend_, must(GuestMemory::create({&spec, 1}, kPage)),
                                         std::make_unique<DeviceBus>(), {.host_cpus = {cpu}});
    ASSERT_FALSE(refused) << cpu;
    EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
    EXPECT_THAT(refused.error().message, HasSubstr(std::to_string(cpu)));
  }
}

// A tracker by write protection, as small as can be.
class ProtectingTracker final : public DirtyTracker, private WriteFaultHandler {
 public:
  ProtectingTracker(Vm& vm, GpaRanges memory, bool sees_host_writes)
      : vm_(vm), memory_(std::move(memory)), traits_{"protecting", sees_host_writes} {}

  [[nodiscard]] const TrackerTraits& traits() const override { return traits_; }
  Result<void> arm() override { return vm_.protect(memory_, Access::kReadExecute); }
  Result<GpaRanges> collect() override {
    STASIS_TRY(arm());
    const MutexLock lock(mutex_);
    return normalize(std::exchange(dirty_, {}));
  }
  Result<void> disarm() override { return vm_.protect(memory_, Access::kReadWriteExecute); }
  WriteFaultHandler* write_fault_handler() override { return this; }

 private:
  Result<void> on_write_fault(Gpa gpa) override {
    const GpaRange page{Gpa{align_down(gpa.value, kPage)}, kPage};
    {
      const MutexLock lock(mutex_);
      dirty_.push_back(page);
    }
    return vm_.protect({&page, 1}, Access::kReadWriteExecute);
  }

  Vm& vm_;
  const GpaRanges memory_;
  const TrackerTraits traits_;
  Mutex mutex_;
  GpaRanges dirty_ STASIS_GUARDED_BY(mutex_);
};

TEST_F(MachineTest, DirtyPagesAreTheGuestsAndTheHosts) {
  const auto machine = make(counting(), {.vcpus = 2});
  ProtectingTracker tracker(machine->vm(), machine->memory().ranges(), false);
  must(machine->memory().write_object(Gpa{40 * kPage}, 'a'));  // Before: does not count.
  must(machine->arm_dirty(tracker));
  must(machine->step(10));
  must(machine->memory().write_object(Gpa{50 * kPage}, 'a'));
  EXPECT_THAT(must(machine->collect_dirty(tracker)),
              ElementsAre(GpaRange{kData, 2 * kPage}, GpaRange{Gpa{50 * kPage}, kPage}));
  EXPECT_THAT(must(machine->collect_dirty(tracker)), testing::IsEmpty());
  EXPECT_EQ(machine->counters().write_faults, 2U);
  must(machine->step(10));
  EXPECT_THAT(must(machine->collect_dirty(tracker)), ElementsAre(GpaRange{kData, 2 * kPage}));
  must(machine->disarm_dirty(tracker));
  must(machine->step(10));
  EXPECT_EQ(machine->counters().write_faults, 4U) << "memory is still protected";
}

TEST_F(MachineTest, HostWritesAreNotAddedForATrackerThatSeesThem) {
  const auto machine = make(counting());
  ProtectingTracker tracker(machine->vm(), machine->memory().ranges(), true);
  must(machine->arm_dirty(tracker));
  must(machine->memory().write_object(Gpa{50 * kPage}, 'a'));
  EXPECT_THAT(must(machine->collect_dirty(tracker)), testing::IsEmpty());
}

TEST_F(MachineTest, AWriteFaultThatNobodyHandlesEndsTheMachine) {
  const auto machine = make(counting());
  const GpaRange page{kData, kPage};
  must(machine->vm().protect({&page, 1}, Access::kReadExecute));
  must(machine->resume());
  const MachineEvent event = must(machine->wait_event(kPatience));
  EXPECT_EQ(event.kind, Kind::kHostFailed);
  EXPECT_THAT(event.message, HasSubstr("0x10000"));
}

TEST_F(MachineTest, AMissingPageEndsTheMachineNamingItsAddress) {
  const auto machine = make(counting());
  const GpaRange page{kData, kPage};
  must(machine->vm().protect({&page, 1}, Access::kNone));
  must(machine->resume());
  const MachineEvent event = must(machine->wait_event(kPatience));
  EXPECT_EQ(event.kind, Kind::kHostFailed);
  EXPECT_THAT(event.message, HasSubstr("0x10000"));
}

}  // namespace
}  // namespace stasis
