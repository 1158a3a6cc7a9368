// Snapshots of arm64 guests on disk, full and differential, and restored under each policy.
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/machine.h"
#include "hvf/backend.h"
#include "snapshot/capture.h"
#include "snapshot/live/live_capture.h"
#include "snapshot/operations.h"
#include "snapshot/policies/policy_catalog.h"
#include "snapshot/restore/restorer.h"
#include "snapshot/trackers/tracker_catalog.h"
#include "tests/conformance/arm64_kit.h"
#include "tests/experiments/temporary_directory.h"
#include "tests/support/must.h"

namespace stasis::hvf {
namespace {

using conformance::computed;
using conformance::kDataBegin;
using conformance::kDataBytes;
using conformance::kKitBegin;
using conformance::kKitBytes;

constexpr std::uint64_t kPage = 0x4000;
constexpr std::uint32_t kVcpus = 2;
constexpr std::uint64_t kRounds = 20'000'000;
constexpr auto kPatience = std::chrono::minutes(2);

class HvfSnapshotTest : public testing::Test {
 protected:
  void SetUp() override {
    auto backend = make_backend();
    if (!backend) {
      GTEST_SKIP() << backend.error().to_string();
    }
    backend_ = *std::move(backend);
  }

  // Each vCPU computes in a page of its own.
  static Gpa result_of(std::uint32_t vcpu) { return kDataBegin + vcpu * kPage; }

  std::unique_ptr<Machine> launch() {
    const RegionSpec spec{.range = {kKitBegin, kKitBytes + kDataBytes}};
    auto memory = must(GuestMemory::create({&spec, 1}, kPage));
    const auto kit = conformance::make_arm64_kit();
    MachineState state;
    for (std::uint32_t i = 0; i < kVcpus; ++i) {
      state.vcpus.push_back(must(kit->compute(*memory, i, result_of(i), i, kRounds)));
      state.activities.push_back(VcpuActivity::kRunning);
      state.wake_pending.push_back(false);
    }
    MachineConfig config{.vcpus = kVcpus};
    config.initial_state = state;
    return must(
        Machine::create(*backend_, std::move(memory), std::make_unique<DeviceBus>(), config));
  }
  std::unique_ptr<Machine> restore_from(const std::string& path, std::string_view policy) {
    const auto chain = must(snapshot::SnapshotChain::open(snapshot::posix_file_system(), path));
    const snapshot::PlanInput input = snapshot::plan_input(*chain);
    const snapshot::RestorePlan plan = must(snapshot::make_plan(policy, input, {}));
    return must(
        snapshot::restore(*chain, input, plan, *backend_, std::make_unique<DeviceBus>(), {}));
  }
  static snapshot::CaptureOptions options(const snapshot::SnapshotChain* parent = nullptr) {
    snapshot::CaptureOptions options;
    options.creator = "stasis test";
    options.writer.durability = snapshot::Durability::kNone;
    options.writer.parent = parent;
    return options;
  }

  static std::uint64_t result(Machine& machine, std::uint32_t vcpu) {
    return must(machine.memory().read_object<std::uint64_t>(result_of(vcpu)));
  }
  // Until each vCPU has computed on, or has finished.
  static void run_a_while(Machine& machine) {
    std::vector<std::uint64_t> before;
    for (std::uint32_t i = 0; i < kVcpus; ++i) {
      before.push_back(result(machine, i));
    }
    must(machine.resume());
    for (std::uint32_t i = 0; i < kVcpus; ++i) {
      while (result(machine, i) == before[i] && before[i] != computed(i, kRounds)) {
        std::this_thread::yield();
      }
    }
    must(machine.pause(kPatience));
  }
  static void expect_right_end(Machine& machine) {
    must(machine.resume());
    while (must(machine.wait_event(kPatience)).kind != MachineEvent::Kind::kHalted) {
    }
    must(machine.pause(kPatience));
    for (std::uint32_t i = 0; i < kVcpus; ++i) {
      EXPECT_EQ(result(machine, i), computed(i, kRounds)) << "vCPU " << i;
    }
  }

  std::unique_ptr<HypervisorBackend> backend_;
  experiments::TemporaryDirectory directory_;
};

TEST_F(HvfSnapshotTest, AComputationEndsTheSameFromEachLinkOfAChainUnderEachPolicy) {
  std::vector<std::string> paths = {directory_.file("full")};
  std::vector<MachineState> states;
  {
    const auto machine = launch();
    run_a_while(*machine);
    states.push_back(must(machine->save_state()));
    must(snapshot::capture_full(*machine, snapshot::posix_file_system(), paths[0], options()));
    const auto tracker = must(snapshot::make_tracker("protection", *machine));
    snapshot::DirtyAccumulator dirty(*machine, *tracker);
    must(dirty.arm());
    for (const char* name : {"diff-1", "diff-2"}) {
      run_a_while(*machine);
      states.push_back(must(machine->save_state()));
      const auto parent =
          must(snapshot::SnapshotChain::open(snapshot::posix_file_system(), paths.back()));
      paths.push_back(directory_.file(name));
      must(snapshot::capture_diff(*machine, dirty, snapshot::posix_file_system(), paths.back(),
                                  options(parent.get())));
    }
    must(dirty.disarm());
    expect_right_end(*machine);
  }
  for (std::size_t i = 0; i < paths.size(); ++i) {
    for (const std::string_view policy : {"eager", "lazy"}) {
      SCOPED_TRACE(paths[i] + " " + std::string(policy));
      const auto machine = restore_from(paths[i], policy);
      EXPECT_EQ(must(machine->save_state()), states[i]);
      expect_right_end(*machine);
    }
  }
}

TEST_F(HvfSnapshotTest, TrackersThatWatchThisProcessAreRefusedWhereTheGuestIsInAnother) {
  if (backend_->capabilities().kind != BackendKind::kHvfSim) {
    GTEST_SKIP() << "the guest is in this process";
  }
  const auto machine = launch();
  for (const char* name : {"userfaultfd", "pagemap-scan", "residency"}) {
    const auto refused = snapshot::make_tracker(name, *machine);
    ASSERT_FALSE(refused) << name;
    EXPECT_EQ(refused.error().code, Errc::kNotSupported) << name;
  }
  EXPECT_THAT(must(snapshot::make_tracker("auto", *machine))->traits().name,
              testing::AnyOf("protection", "compare-hash"));
}

// The guest computes in another process or under another kernel: only the hypervisor's own
// protection sees its writes.
TEST_F(HvfSnapshotTest, ALiveCaptureIsWhatAStillOneOfTheSameMomentIs) {
  snapshot::FileSystem& files = snapshot::posix_file_system();
  {
    const auto machine = launch();
    run_a_while(*machine);
    must(machine->resume());
    snapshot::LiveRequest request;
    request.target = directory_.file("live");
    request.capture = options();
    request.at_the_moment = [&]() -> Result<void> {
      STASIS_TRY(snapshot::capture_full(*machine, files, directory_.file("still"), options()));
      return {};
    };
    const auto capture = must(snapshot::LiveCapture::begin(*machine, files, std::move(request)));
    const snapshot::LiveReport report = must(capture->finish());
    EXPECT_EQ(report.mechanism, "protection");
    EXPECT_FALSE(machine->is_paused());
    must(machine->pause(kPatience));
    expect_right_end(*machine);
  }
  const auto live = must(snapshot::SnapshotChain::open(files, directory_.file("live")));
  const auto still = must(snapshot::SnapshotChain::open(files, directory_.file("still")));
  EXPECT_EQ(must(snapshot::diff(*live, *still, 1, {})).pages, GpaRanges());
  const auto restored = restore_from(directory_.file("live"), "eager");
  expect_right_end(*restored);
}

}  // namespace
}  // namespace stasis::hvf
