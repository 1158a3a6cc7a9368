// Memory that is missing until it is touched: who may touch it, and what happens when a page cannot
// be had.
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/policies/policy_file.h"
#include "snapshot/trackers/tracker_catalog.h"
#include "tests/snapshot/behaviour/saved_toy.h"

namespace stasis::snapshot {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::capture_options;
using testing::Format;
using ::testing::HasSubstr;
using testing::make_toy_machine;
using testing::memory_hash;
using testing::Observation;
using testing::observe;
using testing::restore_toy;
using testing::Restored;
using testing::TemporaryDirectory;
using testing::ToyMachine;

constexpr Format kSmallChunks{Layout::kMappable, Codec::kNone, 4096};

class PagerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const Availability here = probe_policy(*find_policy("uffd"), {});
    if (!here.available) {
      GTEST_SKIP() << here.reason;
    }
    toy_ = make_toy_machine({});
    ASSERT_TRUE(toy_.machine->step(500));
    saved_ = observe(*toy_.machine, *toy_.output);
  }

  std::string save(const Format& format, const std::string& name = "saved") {
    const std::string path = directory_.path(name);
    const auto report =
        capture_full(*toy_.machine, posix_file_system(), path, capture_options(format));
    EXPECT_TRUE(report) << report.error().to_string();
    return path;
  }

  Restored restored(const std::string& path, std::string_view policy = "uffd") {
    auto machine = restore_toy(path, *toy_.backend, policy);
    EXPECT_TRUE(machine) << machine.error().to_string();
    return machine ? *std::move(machine) : Restored{};
  }

  // Another byte in every chunk of the payload.
  static void damage_all(const std::string& path) {
    std::fstream file(path + "/memory", std::ios::in | std::ios::out | std::ios::binary);
    const auto size = fs::file_size(path + "/memory");
    for (std::uint64_t at = 0; at < size; at += 4096) {
      file.seekg(static_cast<std::streamoff>(at + 7));
      const int byte = file.get();
      file.seekp(static_cast<std::streamoff>(at + 7));
      file.put(static_cast<char>(byte ^ 1));
    }
    ASSERT_TRUE(file.good());
  }

  // The guest runs into what it cannot have.
  static void expect_stopped(Machine& machine, std::string_view why) {
    const MachineState before = *machine.save_state();
    ASSERT_TRUE(machine.step(1000));
    const auto event = machine.wait_event(std::chrono::seconds(20));
    ASSERT_TRUE(event) << event.error().to_string();
    EXPECT_EQ(event->kind, MachineEvent::Kind::kHostFailed);
    EXPECT_THAT(event->message,
                AllOf(HasSubstr("/memory"), HasSubstr(std::string(why)), HasSubstr("guest")));
    EXPECT_FALSE(machine.resume());
    EXPECT_FALSE(machine.memory().check_intact());
    // It came no further than the instruction that touched the page.
    const auto retired = [](const MachineState& state) {
      return std::get<ToyVcpuState>(state.vcpus.at(0)).instructions;
    };
    EXPECT_LE(retired(*machine.save_state()), retired(before) + 1);
  }

  TemporaryDirectory directory_;
  ToyMachine toy_;
  Observation saved_;
};

TEST_F(PagerTest, LeavesUntouchedMemoryAbsent) {
  const Restored guest = restored(save(kSmallChunks));
  const MemoryRegion& region = guest.machine->memory().regions().front();
  std::vector<unsigned char> resident(region.range.size / 4096);
  ASSERT_EQ(::mincore(region.host, region.range.size, resident.data()), 0);
  EXPECT_THAT(resident, ::testing::Each(0));
  EXPECT_EQ(memory_hash(guest.machine->memory()), saved_.memory_hash);
}

TEST_F(PagerTest, StopsTheGuestAtThePageWhoseBytesAreWrong) {
  for (const Format& format : {kSmallChunks, Format{Layout::kPacked, Codec::kLz4, 64U << 10U}}) {
    const std::string path = save(format, std::string(name_of(format.codec)));
    const Restored guest = restored(path);
    damage_all(path);
    expect_stopped(*guest.machine, path);
  }
}

TEST_F(PagerTest, StopsTheGuestWhosePayloadIsCut) {
  const std::string path = save(kSmallChunks);
  const Restored guest = restored(path);
  fs::resize_file(path + "/memory", 0);
  expect_stopped(*guest.machine, "ends at byte");
}

TEST_F(PagerTest, GoesOnWithTheSnapshotWhoseNameAnotherHasTaken) {
  const std::string path = save(kSmallChunks);
  const Restored guest = restored(path);
  fs::rename(path, path + "-old");
  fs::create_directory(path);
  std::ofstream(path + "/memory") << "something else";
  fs::remove_all(path + "-old");
  EXPECT_EQ(observe(*guest.machine, *guest.output), saved_);
}

TEST_F(PagerTest, TellsTheHostThatReadsAndRefusesASave) {
  const std::string path = save(kSmallChunks);
  const Restored guest = restored(path);
  fs::resize_file(path + "/memory", 0);
  std::array<std::byte, 16> bytes{};
  const auto read = guest.machine->memory().read(testing::toy_layout({}).code, std::span(bytes));
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message, HasSubstr("cannot be had"));
  EXPECT_FALSE(capture_full(*guest.machine, posix_file_system(), directory_.path("after"),
                            capture_options({})));
  EXPECT_FALSE(fs::exists(directory_.path("after")));
}

TEST_F(PagerTest, CallsWhoeverWantsToKnowOfAFailureOnce) {
  const std::string path = save(kSmallChunks);
  const auto chain = *SnapshotChain::open(posix_file_system(), path);
  const PlanInput input = plan_input(*chain);
  auto memory = restore_memory(*chain, *make_plan("uffd", input), input);
  ASSERT_TRUE(memory) << memory.error().to_string();
  std::atomic<int> calls = 0;
  (*memory)->on_failure([&] { ++calls; });
  fs::resize_file(path + "/memory", 0);
  for (int i = 0; i < 2; ++i) {
    EXPECT_FALSE((*memory)->read_object<std::uint64_t>(testing::toy_layout({}).code));
  }
  EXPECT_EQ(calls, 1);
  (*memory)->on_failure([&] { ++calls; });  // It has failed already.
  EXPECT_EQ(calls, 2);
  (*memory)->on_failure({});
}

TEST_F(PagerTest, LeavesOrdinaryMemoryWhereAllOfItIsAskedFor) {
  const std::string path = save({Layout::kPacked, Codec::kLz4, 64U << 10U});
  const Restored guest = restored(path);
  const auto provided = guest.machine->memory().provide_all();
  ASSERT_TRUE(provided) << provided.error().to_string();
  fs::resize_file(path + "/memory", 0);  // Nobody needs it any more.
  EXPECT_EQ(observe(*guest.machine, *guest.output), saved_);
}

TEST_F(PagerTest, RefusesToProvideAllOfWhatIsDamaged) {
  const std::string path = save(kSmallChunks);
  const Restored guest = restored(path);
  damage_all(path);
  const auto provided = guest.machine->memory().provide_all();
  ASSERT_FALSE(provided);
  EXPECT_EQ(provided.error().code, Errc::kCorruption);
}

TEST_F(PagerTest, ServesAForkAndOtherDescriptorsByProvidingAllFirst) {
  const std::string path = save(kSmallChunks);
  for (const char* name : {"fork", "userfaultfd", "pagemap-scan"}) {
    SCOPED_TRACE(name);
    const Restored guest = restored(path);
    auto tracker = make_tracker(name, *guest.machine);
    if (!tracker && tracker.error().code == Errc::kNotSupported) {
      continue;  // The trackers' own tests say so, as a skip.
    }
    ASSERT_TRUE(tracker) << tracker.error().to_string();
    DirtyAccumulator dirty(*guest.machine, **tracker);
    const auto armed = dirty.arm();
    ASSERT_TRUE(armed) << armed.error().to_string();
    ASSERT_TRUE(guest.machine->step(100));
    EXPECT_TRUE((*tracker)->collect());
  }
}

TEST_F(PagerTest, ServesMemoryThatIsAMemfd) {
  testing::ToyConfig config;
  config.backing = BackingKind::kMemfd;
  ToyMachine toy = make_toy_machine(config);
  ASSERT_TRUE(toy.machine->step(500));
  const Observation saved = observe(*toy.machine, *toy.output);
  const std::string path = directory_.path("memfd");
  ASSERT_TRUE(capture_full(*toy.machine, posix_file_system(), path, capture_options(kSmallChunks)));
  for (const Availability& policy : list_policies({})) {
    if (policy.available) {
      SCOPED_TRACE(policy.name);
      const Restored guest = restored(path, policy.name);
      EXPECT_EQ(observe(*guest.machine, *guest.output), saved);
    }
  }
}

}  // namespace
}  // namespace stasis::snapshot
