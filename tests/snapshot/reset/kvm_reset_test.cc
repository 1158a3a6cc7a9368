// Resets on KVM, with the guests that check themselves: the machine afterwards, and all that it
// does from then on, against a fresh restore.
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "snapshot/reset/resetter.h"
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

struct Case {
  std::string tracker;
  std::uint32_t vcpus = 1;
  Format format = {};
  std::string policy = "eager";
};

void PrintTo(const Case& c, std::ostream* out) {  // NOLINT(readability-identifier-naming)
  *out << c.tracker << ", " << c.vcpus << " vCPUs, " << name_of(c.format.layout) << ", "
       << name_of(c.format.codec) << ", " << c.policy;
}

std::vector<Case> all_cases() {
  constexpr Format kPacked{Layout::kPacked, Codec::kNone, 16U << 10U};
  constexpr Format kCompressed{Layout::kPacked, Codec::kLz4, 64U << 10U};
  std::vector<Case> cases;
  for (const std::string tracker : {"dirty-log", "dirty-log-manual", "dirty-ring", "protection",
                                    "pagemap-scan", "compare-hash", "fork"}) {
    cases.push_back({tracker, 2, kCompressed});
  }
  for (const std::string policy : {"eager", "lazy", "uffd"}) {
    cases.push_back({"dirty-log", 1, {}, policy});
    cases.push_back({"pagemap-scan", 4, kPacked, policy});
  }
  return cases;
}

class KvmResetTest : public KvmTest, public ::testing::WithParamInterface<Case> {
 protected:
  // Ready, then two checkpoints on; the second as a difference on the first.
  void save() {
    GuestOptions options;
    options.arguments = "checkpoints=8 memory=2";
    options.memory_bytes = std::uint64_t{32} << 20U;
    options.vcpus = GetParam().vcpus;
    const GuestMachine original = launch(options);
    ASSERT_NE(original.machine, nullptr);
    ASSERT_TRUE(run_to_event(*original.machine));
    const auto full = capture_full(*original.machine, posix_file_system(), directory_.path("full"),
                                   capture_options(GetParam().format));
    ASSERT_TRUE(full) << full.error().to_string();
    const auto compare = *make_tracker("compare", *original.machine);
    DirtyAccumulator dirty(*original.machine, *compare);
    ASSERT_TRUE(dirty.arm());
    ASSERT_TRUE(run_to_event(*original.machine));
    const auto parent = *SnapshotChain::open(posix_file_system(), directory_.path("full"));
    const auto difference =
        capture_diff(*original.machine, dirty, posix_file_system(), directory_.path("difference"),
                     capture_options(GetParam().format, parent.get()));
    ASSERT_TRUE(difference) << difference.error().to_string();
  }

  Result<GuestMachine> restore_guest(std::string_view policy) {
    STASIS_ASSIGN(const auto chain,
                  SnapshotChain::open(posix_file_system(), directory_.path("difference")));
    const PlanInput input = plan_input(*chain);
    STASIS_ASSIGN(const RestorePlan plan, make_plan(policy, input));
    testing::GuestBus bus = make_guest_bus(chain->manifest().architecture);
    GuestMachine guest;
    guest.console = bus.console;
    guest.doorbell = bus.doorbell;
    ShellConfig shell;
    STASIS_ASSIGN(shell.dirty_ring_entries,
                  ring_entries_for(GetParam().tracker, backend_->capabilities()));
    shell.vcpus_max = GetParam().vcpus;
    STASIS_ASSIGN(guest.machine, restore(*chain, input, plan, *backend_, std::move(bus.bus), {},
                                         MachineShell::begin(*backend_, shell)));
    return guest;
  }

  static void expect_same(Machine& machine, Machine& other) {
    EXPECT_EQ(memory_hash(machine.memory()), memory_hash(other.memory()));
    const MachineState state = without_time(*machine.save_state());
    const MachineState expected = without_time(*other.save_state());
    EXPECT_EQ(difference(state, expected), "");
    EXPECT_EQ(state.activities, expected.activities);
    EXPECT_EQ(state.wake_pending, expected.wake_pending);
    EXPECT_EQ(state.devices, expected.devices);
  }

  TemporaryDirectory directory_;
};

TEST_P(KvmResetTest, TortureDoesTheSameAfterEveryReset) {
  save();
  auto guest = restore_guest(GetParam().policy);
  if (!guest && guest.error().code == Errc::kNotSupported) {
    GTEST_SKIP() << guest.error().to_string();
  }
  ASSERT_TRUE(guest) << guest.error().to_string();
  Machine& machine = *guest->machine;
  auto tracker = make_tracker(GetParam().tracker, machine);
  if (!tracker && tracker.error().code == Errc::kNotSupported) {
    GTEST_SKIP() << tracker.error().to_string();
  }
  ASSERT_TRUE(tracker) << tracker.error().to_string();
  DirtyAccumulator dirty(machine, **tracker);
  const auto armed = dirty.arm();
  ASSERT_TRUE(armed) << armed.error().to_string();
  const auto chain = *SnapshotChain::open(posix_file_system(), directory_.path("difference"));
  const auto resetter = Resetter::create(machine, dirty, *chain);
  ASSERT_TRUE(resetter) << resetter.error().to_string();
  const auto fresh = restore_guest("eager");
  ASSERT_TRUE(fresh) << fresh.error().to_string();
  std::vector<std::string> outputs;
  for (int round = 0; round < 6; ++round) {
    SCOPED_TRACE(round);
    const std::size_t before = guest->console->text().size();
    // To the end, to some checkpoints, or to wherever it is after a moment.
    if (round % 3 == 2) {
      ASSERT_TRUE(machine.resume());
      const auto event = machine.wait_event(std::chrono::milliseconds(round));
      ASSERT_TRUE(event || event.error().code == Errc::kTimeout) << event.error().to_string();
      ASSERT_TRUE(machine.pause(std::chrono::seconds(30)));
    } else {
      for (;;) {
        const auto event = run_to_event(machine);
        ASSERT_TRUE(event) << event.error().to_string() << guest->console->text();
        if (event->kind == MachineEvent::Kind::kExit) {
          EXPECT_EQ(event->value, 0U);
          break;
        }
      }
      outputs.push_back(guest->console->text().substr(before));
      EXPECT_EQ(outputs.back(), outputs.front());
    }
    const auto report = (*resetter)->reset();
    ASSERT_TRUE(report) << report.error().to_string();
    EXPECT_TRUE(report->dirty_bytes > 0 || round % 3 == 2);
    EXPECT_EQ(report->copied_bytes + report->zeroed_bytes, report->dirty_bytes);
    EXPECT_LT(report->dirty_bytes, machine.memory().size_bytes() / 2);
    expect_same(machine, *fresh->machine);
  }
  // Nothing of the fresh one's own end is different.
  const std::size_t before = fresh->console->text().size();
  for (;;) {
    const auto event = run_to_event(*fresh->machine);
    ASSERT_TRUE(event) << event.error().to_string();
    if (event->kind == MachineEvent::Kind::kExit) {
      break;
    }
  }
  EXPECT_EQ(fresh->console->text().substr(before), outputs.front());
  ASSERT_TRUE(dirty.disarm());
}

INSTANTIATE_TEST_SUITE_P(OnKvm, KvmResetTest, ::testing::ValuesIn(all_cases()));

}  // namespace
}  // namespace stasis::snapshot
