// Asking a vCPU where its counter stands, while the Machine runs and while it does not. On the
// mock, whose guests count instructions, so that the answer is always that there is nothing to
// tell; tests/kvm/ and tests/guests/ have those that are.
#include <chrono>
#include <latch>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/machine.h"
#include "mock/assembler.h"
#include "mock/mock_backend.h"
#include "tests/support/must.h"
#include "tests/support/scripted_device.h"

namespace stasis {
namespace {

using namespace std::chrono_literals;
using mock::Assembler;
using testing::HasSubstr;
using enum mock::Register;
using Kind = MachineEvent::Kind;

constexpr auto kPatience = 30s;
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kDevice = std::uint64_t{1} << 30;
constexpr Gpa kData{16 * kPage};

class MachineCounterTest : public testing::Test {
 protected:
  // Each vCPU counts up in a page of its own, and rings the device each time.
  std::unique_ptr<Machine> start(std::uint32_t vcpus) {
    Assembler code(Gpa{0});
    const Assembler::Label loop = code.here();
    code.add_imm(R4, R4, 1).store(R4, R3, 0, 8).store(R4, R2, 0, 8).jump(loop);
    const RegionSpec spec{.range = {Gpa{0}, 64 * kPage}};
    auto memory = must(GuestMemory::create({&spec, 1}, kPage));
    must(code.write_to(*memory));
    MachineConfig config{.vcpus = vcpus, .start = StartMode::kRunning};
    config.initial_state = MachineState{};
    for (std::uint32_t i = 0; i < vcpus; ++i) {
      ToyVcpuState state;
      state.r[2] = kDevice;
      state.r[3] = kData.value + i * kPage;
      config.initial_state->vcpus.emplace_back(state);
    }
    config.initial_state->activities.resize(vcpus);
    config.initial_state->wake_pending.resize(vcpus);
    config.initial_state->devices.push_back(must(device_->save_state()));
    auto bus = std::make_unique<DeviceBus>();
    must(bus->attach(IoSpace::kMmio, kDevice, 8, device_));
    return must(Machine::create(*backend_, std::move(memory), std::move(bus), config));
  }
  // Leaves the Machine running.
  static std::uint64_t count_of(Machine& machine, std::uint32_t vcpu) {
    must(machine.pause(kPatience));
    const auto value =
        must(machine.memory().read_object<std::uint64_t>({kData.value + vcpu * kPage}));
    must(machine.resume());
    return value;
  }

  std::unique_ptr<HypervisorBackend> backend_ = must(mock::make_mock_backend({}));
  std::shared_ptr<ScriptedDevice> device_ = std::make_shared<ScriptedDevice>();
};

TEST_F(MachineCounterTest, ARunningVcpuAnswersAndGoesOn) {
  device_->on_write = [](const ScriptedDevice::Write&, DeviceHost&) { return WriteOutcome{}; };
  const auto machine = start(2);
  for (const std::uint32_t vcpu : {0U, 1U}) {
    EXPECT_EQ(machine->counter_relation(vcpu, kPatience).error().code, Errc::kNotSupported);
  }
  EXPECT_FALSE(machine->is_paused());
  for (const std::uint32_t vcpu : {0U, 1U}) {
    const std::uint64_t before = count_of(*machine, vcpu);
    EXPECT_EQ(machine->counter_relation(vcpu, kPatience).error().code, Errc::kNotSupported);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (count_of(*machine, vcpu) == before) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "vCPU " << vcpu << " stands still";
    }
  }
}

TEST_F(MachineCounterTest, APausedVcpuAnswersAndStaysOutside) {
  const auto machine = start(1);
  must(machine->pause(kPatience));
  const auto count = [&] { return must(machine->memory().read_object<std::uint64_t>(kData)); };
  const std::uint64_t before = count();
  EXPECT_EQ(machine->counter_relation(0, 0ns).error().code, Errc::kNotSupported);
  EXPECT_TRUE(machine->is_paused());
  EXPECT_TRUE(machine->save_state()) << "which needs every vCPU outside";
  EXPECT_EQ(count(), before);
}

TEST_F(MachineCounterTest, AVcpuThatThereIsNotIsNamed) {
  const auto machine = start(2);
  const auto none = machine->counter_relation(2, kPatience);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(none.error().message, HasSubstr("vCPU 2"));
}

TEST_F(MachineCounterTest, AVcpuThatDoesNotComeOutTimesOutAndAHeldOneStaysHeld) {
  std::latch inside(1);
  std::latch release(1);
  device_->on_write = [&](const ScriptedDevice::Write&, DeviceHost&) {
    inside.count_down();
    release.wait();
    return WriteOutcome{AfterWrite::kHold, MachineEvent{Kind::kCheckpoint}};
  };
  const auto machine = start(1);
  inside.wait();
  const auto late = machine->counter_relation(0, 10ms);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::kTimeout);
  EXPECT_THAT(late.error().message, HasSubstr("vCPU 0"));
  release.count_down();
  EXPECT_EQ(must(machine->wait_event(kPatience)).kind, Kind::kCheckpoint);
  EXPECT_EQ(machine->counter_relation(0, kPatience).error().code, Errc::kNotSupported);
  EXPECT_EQ(machine->wait_event(10ms).error().code, Errc::kTimeout);
  EXPECT_EQ(device_->writes().size(), 1U);
}

}  // namespace
}  // namespace stasis
