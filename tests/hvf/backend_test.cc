// The backend with guests of its architecture, beyond what the conformance suite asks of all: dirty
// tracking, the timer, code that the host replaces, and what a guest may not do.
#include "hvf/backend.h"

#include <algorithm>
#include <array>
#include <random>
#include <thread>
#include <variant>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/machine.h"
#include "core/ranges.h"
#include "snapshot/trackers/tracker_catalog.h"
#include "tests/conformance/arm64_kit.h"
#include "tests/support/arm64_code.h"
#include "tests/support/must.h"
#include "tests/support/scripted_device.h"

namespace stasis::hvf {
namespace {

using conformance::kDataBegin;
using conformance::kDataBytes;
using conformance::kDataRange;
using conformance::kKitBegin;
using conformance::kKitBytes;
using conformance::Store;
using testing::HasSubstr;

constexpr std::uint64_t kPage = 0x4000;
constexpr std::uint64_t kDevice = std::uint64_t{1} << 30U;

class HvfBackendTest : public testing::Test {
 protected:
  void SetUp() override {
    auto backend = make_backend();
    if (!backend) {
      GTEST_SKIP() << backend.error().to_string();
    }
    backend_ = *std::move(backend);
    memory_ = make_memory();
  }

  static std::unique_ptr<GuestMemory> make_memory() {
    const RegionSpec spec{.range = {kKitBegin, kKitBytes + kDataBytes}};
    return must(GuestMemory::create({&spec, 1}, kPage));
  }
  void begin_vm(std::uint32_t vcpus = 1) {
    vm_ = must(backend_->create_vm({.vcpus = vcpus}));
    must(vm_->map(*memory_, Access::kReadWriteExecute));
  }
  // A vCPU that executes `code`, put at `at`, without translation.
  std::unique_ptr<Vcpu> make_vcpu(const Arm64Code& code, Gpa at = kKitBegin) {
    must(memory_->write(at, code.bytes()));
    auto vcpu = must(vm_->create_vcpu(0));
    must(vcpu->load_state(VcpuState(start_at(at))));
    return vcpu;
  }
  static Arm64VcpuState start_at(Gpa at) {
    Arm64VcpuState state;
    state.pc = at.value;
    state.pstate = 0x3c5;
    return state;
  }
  // The value of the next write to a device; anything else is a failure.
  static std::uint64_t next_report(Vcpu& vcpu) {
    const VcpuExit exit = must(vcpu.run());
    const auto* write = std::get_if<ExitIoWrite>(&exit);
    EXPECT_NE(write, nullptr) << exit.index();
    return write == nullptr ? 0 : write->data;
  }
  static std::string failure_of(Vcpu& vcpu) {
    const VcpuExit exit = must(vcpu.run());
    const auto* failed = std::get_if<ExitFailed>(&exit);
    EXPECT_NE(failed, nullptr) << exit.index();
    return failed == nullptr ? "" : failed->reason;
  }

  std::unique_ptr<HypervisorBackend> backend_;
  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<Vm> vm_;
  std::unique_ptr<conformance::GuestKit> kit_ = conformance::make_arm64_kit();
};

TEST_F(HvfBackendTest, TheProtectionTrackerReportsExactlyThePagesWritten) {
  constexpr std::uint32_t kVcpus = 3;
  std::mt19937_64 random(11);
  MachineConfig config{.vcpus = kVcpus};
  std::vector<VcpuState> states;
  for (std::uint32_t i = 0; i < kVcpus; ++i) {
    states.push_back(must(kit_->finish(*memory_, i)));
  }
  config.initial_state = MachineState{
      states, std::vector(kVcpus, VcpuActivity::kRunning), std::vector(kVcpus, false), {}};
  const auto machine =
      must(Machine::create(*backend_, std::move(memory_), std::make_unique<DeviceBus>(), config));
  const auto tracker = must(snapshot::make_tracker("protection", *machine));
  const auto oracle = must(snapshot::make_tracker("compare", *machine));
  must(machine->arm_dirty(*tracker));
  must(oracle->arm());
  for (int round = 0; round < 8; ++round) {
    GpaRanges expected;
    MachineState state = must(machine->save_state());
    for (std::uint32_t i = 0; i < kVcpus; ++i) {
      std::vector<Store> stores;
      for (std::size_t n = 1 + random() % 30; n > 0; --n) {
        const Gpa to = kDataBegin + random() % (kDataBytes - 8);
        stores.push_back({to, 8, random() | 1U});
        expected.push_back({to, 8});
      }
      state.vcpus[i] = must(kit_->store(machine->memory(), i, stores));
      state.activities[i] = VcpuActivity::kRunning;
    }
    must(machine->load_state(state));
    must(machine->resume());
    while (must(machine->wait_event(std::chrono::minutes(2))).kind != MachineEvent::Kind::kHalted) {
    }
    must(machine->pause(std::chrono::minutes(2)));
    expected = align_outward(normalize(expected), kPage);
    EXPECT_EQ(intersect(must(machine->collect_dirty(*tracker)), {kDataRange}), expected) << round;
    EXPECT_EQ(intersect(must(oracle->collect()), {kDataRange}), expected) << round;
  }
  must(machine->disarm_dirty(*tracker));
}

TEST_F(HvfBackendTest, VcpusThatFaultOnOnePageAtOnceAllGoOn) {
  constexpr std::uint32_t kVcpus = 4;
  constexpr std::uint64_t kTimes = 3000;
  std::vector<VcpuState> states;
  for (std::uint32_t i = 0; i < kVcpus; ++i) {
    states.push_back(must(kit_->add_atomically(*memory_, i, kDataBegin, kTimes)));
  }
  begin_vm(kVcpus);
  const std::array<GpaRange, 1> page = {{{kDataBegin, kPage}}};
  must(vm_->protect(page, Access::kReadExecute));
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < kVcpus; ++i) {
    threads.emplace_back([&, i] {
      const auto vcpu = must(vm_->create_vcpu(i));
      must(vcpu->load_state(states[i]));
      while (true) {
        const VcpuExit exit = must(vcpu->run());
        if (std::holds_alternative<ExitWriteProtected>(exit)) {
          EXPECT_EQ(std::get<ExitWriteProtected>(exit).gpa, kDataBegin);
          must(vm_->protect(page, Access::kReadWriteExecute));
        } else if (!std::holds_alternative<ExitIoWrite>(exit)) {
          EXPECT_TRUE(std::holds_alternative<ExitHalted>(exit)) << exit.index();
          return;
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(must(memory_->read_object<std::uint64_t>(kDataBegin)), kVcpus * kTimes);
}

TEST_F(HvfBackendTest, CodeThatTheHostReplacedIsWhatRunsAfterALoad) {
  begin_vm();
  const auto program = [](std::uint64_t value) {
    return Arm64Code().load_imm(2, kDevice).load_imm(1, value).store(1, 2, 4);
  };
  const auto vcpu = make_vcpu(program(1));
  EXPECT_EQ(next_report(*vcpu), 1U);
  for (std::uint64_t value = 2; value < 6; ++value) {
    must(memory_->write(kKitBegin, program(value).bytes()));
    must(vcpu->load_state(VcpuState(start_at(kKitBegin))));
    EXPECT_EQ(next_report(*vcpu), value);
  }
}

TEST_F(HvfBackendTest, AMissingPageOfCodeIsAskedFor) {
  begin_vm();
  must(memory_->write(kDataBegin, Arm64Code().load_imm(2, kDevice).store(2, 2, 4).bytes()));
  const auto vcpu = make_vcpu(Arm64Code().load_imm(1, kDataBegin.value).branch_to(1));
  const std::array<GpaRange, 1> page = {{{kDataBegin, kPage}}};
  must(vm_->protect(page, Access::kNone));
  const VcpuExit exit = must(vcpu->run());
  const auto* missing = std::get_if<ExitMissingPage>(&exit);
  ASSERT_NE(missing, nullptr);
  EXPECT_EQ(missing->gpa, kDataBegin);
  EXPECT_FALSE(missing->is_write);
  must(vm_->protect(page, Access::kReadExecute));
  EXPECT_EQ(next_report(*vcpu), kDevice);
  must(vm_->protect(page, Access::kReadWrite));
  must(vcpu->load_state(VcpuState(start_at(kKitBegin))));
  EXPECT_THAT(failure_of(*vcpu), HasSubstr("executes RAM that is not executable"));
}

constexpr std::uint64_t kArmed = 0x77;

// A guest that asks for an interrupt in `ticks` and waits for it. It reports the count, kArmed when
// its timer runs, and from its handler the count again.
Arm64Code timer_guest(Gpa vectors, std::uint64_t ticks) {
  constexpr std::uint32_t kVbar = 0xc600, kCntvct = 0xdf02, kCval = 0xdf1a, kCtl = 0xdf19;
  Arm64Code code;
  code.load_imm(2, kDevice).load_imm(1, vectors.value).write_system(kVbar, 1).isb();
  code.read_system(3, kCntvct).load_imm(4, ticks).store(3, 2, 8).add(3, 3, 4);
  code.write_system(kCval, 3).load_imm(1, 1).write_system(kCtl, 1);
  code.load_imm(6, kArmed).store(6, 2, 8);
  code.word(0xd50347ff);  // MSR DAIFClr, #7
  const Arm64Code::Label wait = code.here();
  return code.wfi().branch(wait);
}
Arm64Code timer_handler() {
  constexpr std::uint32_t kCntvct = 0xdf02, kCtl = 0xdf19;
  Arm64Code code;
  code.isb().read_system(5, kCntvct).store(5, 2, 8).load_imm(1, 0).write_system(kCtl, 1);
  return code.hvc(0).word(0xd69f03e0);  // The line falls as the guest leaves. ERET.
}

TEST_F(HvfBackendTest, ATimerWakesAGuestThatWaitsAndInterruptsIt) {
  begin_vm();
  must(memory_->write(kDataBegin + 0x280, timer_handler().bytes()));
  constexpr std::uint64_t kTicks = 24'000'000 / 50;
  const auto vcpu = make_vcpu(timer_guest(kDataBegin, kTicks));
  const std::uint64_t begin = next_report(*vcpu);
  EXPECT_EQ(next_report(*vcpu), kArmed);
  const std::uint64_t fired = next_report(*vcpu);
  EXPECT_GE(fired, begin + kTicks);
  EXPECT_TRUE(std::holds_alternative<ExitHalted>(must(vcpu->run()))) << "its timer is off";
}

TEST_F(HvfBackendTest, ATimerGoesOnInAnotherVmAndTheTimeBetweenIsNotTheGuests) {
  constexpr std::uint64_t kTicks = 24'000'000 / 4;  // A quarter of a second.
  begin_vm();
  must(memory_->write(kDataBegin + 0x280, timer_handler().bytes()));
  auto vcpu = make_vcpu(timer_guest(kDataBegin, kTicks));
  const std::uint64_t begin = next_report(*vcpu);
  EXPECT_EQ(next_report(*vcpu), kArmed);
  const VcpuState saved = must(vcpu->save_state());
  EXPECT_EQ(must(vcpu->save_state()), saved) << "time stands still for a vCPU that is out";
  vcpu.reset();
  vm_.reset();

  const auto loaded_at = std::chrono::steady_clock::now();
  begin_vm();
  vcpu = must(vm_->create_vcpu(0));
  must(vcpu->load_state(saved));
  EXPECT_EQ(must(vcpu->save_state()), saved);
  const std::uint64_t fired = next_report(*vcpu);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - loaded_at;
  EXPECT_GE(fired, begin + kTicks);
  const auto count_saved = std::uint64_t{0} - std::get<Arm64VcpuState>(saved).virtual_timer.offset;
  EXPECT_GE(fired, count_saved);
  // QEMU's 24 MHz are up to two per cent fast.
  EXPECT_LE(static_cast<double>(fired - count_saved), elapsed.count() * 24e6 * 1.03)
      << "the time between the two VMs is in the guest's count";
}

TEST_F(HvfBackendTest, CallsToFirmwareAndTrappedRegistersAreAnswered) {
  begin_vm();
  constexpr std::uint32_t kOslsr = 0x808c;
  Arm64Code code;
  code.load_imm(2, kDevice).load_imm(0, 0x84000000).hvc(0).store(0, 2, 8);
  code.load_imm(0, 0x84000000).smc(0).store(0, 2, 8);
  code.load_imm(0, 0x84000000).hvc(1).store(0, 2, 8).read_system(1, kOslsr).store(1, 2, 4);
  code.write_system(0x8084 /* OSLAR_EL1 */, 31).read_system(1, 0xdf01 /* CNTPCT_EL0 */);
  code.read_system(3, 0xdf02 /* CNTVCT_EL0 */).store(1, 2, 8).store(3, 2, 8);
  const auto vcpu = make_vcpu(code);
  EXPECT_EQ(next_report(*vcpu), 0x10001U) << "PSCI_VERSION by HVC";
  EXPECT_EQ(next_report(*vcpu), 0x10001U) << "by SMC";
  EXPECT_EQ(next_report(*vcpu), UINT64_MAX) << "HVC #1 is no firmware's";
  EXPECT_EQ(next_report(*vcpu), 8U);
  const std::uint64_t physical = next_report(*vcpu);
  EXPECT_GE(next_report(*vcpu), physical) << "both counters are the guest's";
}

TEST_F(HvfBackendTest, WhatAGuestCannotDoIsSaidWithItsAddress) {
  begin_vm();
  Arm64Code pair;
  pair.load_imm(1, kDevice).store_pair(3, 4, 1);
  auto vcpu = make_vcpu(pair);
  EXPECT_THAT(failure_of(*vcpu),
              testing::AllOf(HasSubstr("0x40000000"), HasSubstr("at PC 0x8"), HasSubstr("a pair")));
  must(memory_->write(kKitBegin, Arm64Code().read_system(1, 0xc660 /* ICC_IAR1_EL1 */).bytes()));
  must(vcpu->load_state(VcpuState(start_at(kKitBegin))));
  EXPECT_THAT(failure_of(*vcpu), HasSubstr("a system register that it has not"));
  must(memory_->write(kKitBegin, Arm64Code().load_imm(1, kDevice).branch_to(1).bytes()));
  must(vcpu->load_state(VcpuState(start_at(kKitBegin))));
  EXPECT_THAT(failure_of(*vcpu), HasSubstr("executes 0x40000000, where no RAM is"));
}

TEST_F(HvfBackendTest, ASecondVmIsRefusedWithTheReason) {
  begin_vm();
  const auto refused = backend_->create_vm({.vcpus = 1});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("HV_BUSY"));
}

}  // namespace
}  // namespace stasis::hvf
