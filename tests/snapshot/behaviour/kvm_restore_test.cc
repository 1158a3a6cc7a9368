// Restores on KVM, with the guest that checks itself.
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "snapshot/trackers/tracker_catalog.h"
#include "tests/snapshot/behaviour/kvm_machine.h"
#include "tests/snapshot/behaviour/saved_toy.h"

namespace stasis::snapshot {
namespace {

using testing::capture_options;
using testing::difference;
using testing::Format;
using testing::GuestMachine;
using testing::GuestOptions;
using testing::KvmTest;
using testing::make_guest_bus;
using testing::memory_hash;
using testing::run_to_event;
using testing::TemporaryDirectory;
using testing::without_time;

struct RestoreCase {
  std::uint32_t vcpus = 1;
  Format format;
  std::string tracker;
};

void PrintTo(const RestoreCase& c, std::ostream* out) {  // NOLINT(readability-identifier-naming)
  *out << c.vcpus << " vCPUs, " << name_of(c.format.layout) << ", " << name_of(c.format.codec)
       << ", " << c.tracker;
}

std::vector<RestoreCase> restore_cases() {
  std::vector<RestoreCase> cases;
  for (const std::uint32_t vcpus : {1U, 2U, 4U}) {
    cases.push_back({vcpus, {Layout::kMappable, Codec::kNone, 64U << 10U}, "dirty-log"});
    cases.push_back({vcpus, {Layout::kPacked, Codec::kNone, 64U << 10U}, "protection"});
    cases.push_back({vcpus, {Layout::kPacked, Codec::kLz4, 16U << 10U}, "compare-hash"});
  }
  return cases;
}

// What must be the same however often a guest is restored from one snapshot.
struct Ending {
  std::string console;
  std::uint64_t exit_code = 0;
  std::uint64_t checkpoints = 0;
  friend bool operator==(const Ending&, const Ending&) = default;
};

// Runs a guest to its end; `console` counts from now on.
Result<Ending> run_to_end(GuestMachine& guest) {
  Ending ending;
  const std::size_t before = guest.console->text().size();
  for (;;) {
    STASIS_ASSIGN(const MachineEvent event, run_to_event(*guest.machine));
    if (event.kind == MachineEvent::Kind::kExit) {
      ending.exit_code = event.value;
      ending.console = guest.console->text().substr(before);
      return ending;
    }
    ++ending.checkpoints;
  }
}

class KvmRestoreTest : public KvmTest, public ::testing::WithParamInterface<RestoreCase> {
 protected:
  TemporaryDirectory directory_;

  struct Saved {
    std::string path;
    std::uint64_t memory_hash = 0;
    MachineState state;
    std::size_t console_bytes = 0;
    std::uint64_t checkpoints_left = 0;
  };

  Saved note(const GuestMachine& guest, const std::string& path) {
    MachineState state = without_time(*guest.machine->save_state());
    EXPECT_EQ(difference(without_time(*guest.machine->save_state()), state), "")
        << "to save is not to change";
    return {path, memory_hash(guest.machine->memory()), std::move(state),
            guest.console->text().size(), 0};
  }

  Result<GuestMachine> restore_guest(const std::string& path, std::string_view policy,
                                     const PolicyOptions& options) {
    STASIS_ASSIGN(const auto chain, SnapshotChain::open(posix_file_system(), path));
    const PlanInput input = plan_input(*chain);
    STASIS_ASSIGN(const RestorePlan plan, make_plan(policy, input, options));
    testing::GuestBus bus = make_guest_bus(chain->manifest().architecture);
    GuestMachine guest;
    guest.console = bus.console;
    guest.doorbell = bus.doorbell;
    STASIS_ASSIGN(guest.machine, restore(*chain, input, plan, *backend_, std::move(bus.bus), {}));
    return guest;
  }

  // The device counts restores, which is its purpose; all else must be as it was.
  void expect_same_machine(const GuestMachine& guest, const Saved& saved) {
    EXPECT_EQ(memory_hash(guest.machine->memory()), saved.memory_hash);
    const MachineState state = without_time(*guest.machine->save_state());
    EXPECT_EQ(difference(state, saved.state), "");
    EXPECT_EQ(state.activities, saved.state.activities);
    EXPECT_EQ(state.wake_pending, saved.state.wake_pending);
  }
};

TEST_P(KvmRestoreTest, TortureEndsTheSameFromEveryLinkOfAChainUnderEveryPolicy) {
  constexpr int kLinks = 8;
  GuestOptions options;
  options.arguments = "checkpoints=10 memory=2";
  options.memory_bytes = std::uint64_t{32} << 20U;
  options.vcpus = GetParam().vcpus;
  GuestMachine original = launch(options);
  ASSERT_NE(original.machine, nullptr);
  ASSERT_TRUE(run_to_event(*original.machine));  // Ready.

  std::vector<Saved> snapshots;
  snapshots.push_back(note(original, directory_.path("full")));
  const auto full = capture_full(*original.machine, posix_file_system(), snapshots[0].path,
                                 capture_options(GetParam().format));
  ASSERT_TRUE(full) << full.error().to_string();
  auto tracker = make_tracker(GetParam().tracker, *original.machine);
  if (!tracker && tracker.error().code == Errc::kNotSupported) {
    GTEST_SKIP() << tracker.error().to_string();
  }
  ASSERT_TRUE(tracker) << tracker.error().to_string();
  DirtyAccumulator dirty(*original.machine, **tracker);
  ASSERT_TRUE(dirty.arm());
  for (int link = 1; link <= kLinks; ++link) {
    ASSERT_TRUE(run_to_event(*original.machine));
    const auto parent = *SnapshotChain::open(posix_file_system(), snapshots.back().path);
    snapshots.push_back(note(original, directory_.path("diff-" + std::to_string(link))));
    const auto diff =
        capture_diff(*original.machine, dirty, posix_file_system(), snapshots.back().path,
                     capture_options(GetParam().format, parent.get()));
    ASSERT_TRUE(diff) << diff.error().to_string();
  }
  ASSERT_TRUE(dirty.disarm());
  auto end = run_to_end(original);
  ASSERT_TRUE(end) << end.error().to_string();
  ASSERT_EQ(end->exit_code, 0U);
  const std::string all_output = original.console->text();

  PolicyOptions two_threads;
  two_threads.threads = 2;
  PolicyOptions many_mappings;
  many_mappings.map_bytes_min = 1;
  for (const Saved& saved : snapshots) {
    for (const auto& [policy, policy_options] :
         {std::pair<std::string_view, PolicyOptions>{"eager", two_threads},
          {"lazy", {}},
          {"lazy", many_mappings},
          {"uffd", {}}}) {
      SCOPED_TRACE(saved.path + ", " + std::string(policy));
      auto guest = restore_guest(saved.path, policy, policy_options);
      ASSERT_TRUE(guest) << guest.error().to_string();
      expect_same_machine(*guest, saved);
      const auto again = run_to_end(*guest);
      ASSERT_TRUE(again) << again.error().to_string() << guest->console->text();
      EXPECT_EQ(again->exit_code, 0U);
      EXPECT_EQ(again->console, all_output.substr(saved.console_bytes));
    }
  }
}

// Not at a checkpoint, where the guest has just made a call, but wherever it happens to be.
TEST_P(KvmRestoreTest, TortureEndsTheSameWhereverInItsWorkItWasSaved) {
  GuestOptions options;
  options.arguments = "checkpoints=4 memory=2";
  options.memory_bytes = std::uint64_t{32} << 20U;
  options.vcpus = GetParam().vcpus;
  GuestMachine original = launch(options);
  ASSERT_NE(original.machine, nullptr);
  ASSERT_TRUE(run_to_event(*original.machine));  // Ready.
  std::vector<Saved> snapshots;
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(original.machine->resume());
    const auto event = original.machine->wait_event(std::chrono::milliseconds(i));
    ASSERT_TRUE(event || event.error().code == Errc::kTimeout) << event.error().to_string();
    if (event && event->kind == MachineEvent::Kind::kExit) {
      break;
    }
    ASSERT_TRUE(original.machine->pause(std::chrono::seconds(30)));
    snapshots.push_back(note(original, directory_.path("at-" + std::to_string(i))));
    const auto full = capture_full(*original.machine, posix_file_system(), snapshots.back().path,
                                   capture_options(GetParam().format));
    ASSERT_TRUE(full) << full.error().to_string();
  }
  ASSERT_GE(snapshots.size(), 2U);
  const auto end = run_to_end(original);
  ASSERT_TRUE(end) << end.error().to_string();
  ASSERT_EQ(end->exit_code, 0U);
  const std::string all_output = original.console->text();
  for (const Saved& saved : snapshots) {
    for (const std::string_view policy : {"eager", "lazy", "uffd"}) {
      SCOPED_TRACE(saved.path + ", " + std::string(policy));
      auto guest = restore_guest(saved.path, policy, {});
      ASSERT_TRUE(guest) << guest.error().to_string();
      if (policy != "uffd") {  // Looking at its memory would bring in all of it.
        expect_same_machine(*guest, saved);
      }
      const auto again = run_to_end(*guest);
      ASSERT_TRUE(again) << again.error().to_string() << guest->console->text();
      EXPECT_EQ(again->exit_code, 0U);
      EXPECT_EQ(again->console, all_output.substr(saved.console_bytes));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(OnKvm, KvmRestoreTest, ::testing::ValuesIn(restore_cases()));

}  // namespace
}  // namespace stasis::snapshot
