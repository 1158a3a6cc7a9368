// Every tracker on the mock backend against two oracles: a full comparison of memory, which no
// written page may be missing from, and the mock's own log of every store, which an exact tracker
// must equal.
#include <algorithm>
#include <functional>
#include <ostream>
#include <random>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/trackers/tracker_auto.h"
#include "snapshot/trackers/tracker_catalog.h"
#include "snapshot/trackers/tracker_models.h"
#include "tests/snapshot/behaviour/toy_machine.h"

namespace stasis::snapshot {
namespace {

using testing::make_toy_machine;
using testing::ToyConfig;
using testing::ToyMachine;

struct Case {
  std::string tracker;
  std::uint64_t page_size_bytes = 4096;
  std::uint32_t vcpus = 1;
  std::uint32_t unprotect_pages = 1;
  BackingKind backing = BackingKind::kAnonymous;
  HugePages huge_pages = HugePages::kNever;
};

void PrintTo(const Case& c, std::ostream* out) {  // NOLINT(readability-identifier-naming)
  *out << c.tracker << ", " << c.page_size_bytes << "-byte pages, " << c.vcpus << " vCPUs, "
       << c.unprotect_pages << " pages a fault, " << name_of(c.backing) << ", "
       << name_of(c.huge_pages) << " huge pages";
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const std::uint64_t page : {std::uint64_t{4096}, std::uint64_t{16384}}) {
    for (const std::uint32_t vcpus : {1U, 2U, 4U}) {
      for (const char* tracker : {"compare", "compare-hash", "dirty-log"}) {
        cases.push_back({tracker, page, vcpus});
      }
      for (const std::uint32_t chunk : {1U, 8U, 512U}) {
        cases.push_back({"protection", page, vcpus, chunk});
        cases.push_back({"userfaultfd", page, vcpus, chunk});
      }
    }
  }
  for (const char* tracker : {"zero-scan", "residency", "pagemap-scan", "soft-dirty", "fork"}) {
    cases.push_back({tracker, 4096, 1});
    cases.push_back({tracker, 16384, 4});
    cases.push_back({tracker, 4096, 2, 1, BackingKind::kAnonymous, HugePages::kTransparent});
  }
  cases.push_back({"pagemap-scan", 4096, 2, 1, BackingKind::kMemfd});
  cases.push_back({"pagemap-scan", 4096, 2, 1, BackingKind::kMemfd, HugePages::kTransparent});
  for (const std::uint32_t chunk : {1U, 16U, 512U}) {
    cases.push_back({"userfaultfd", 4096, 2, chunk, BackingKind::kMemfd});
    cases.push_back(
        {"userfaultfd", 4096, 2, chunk, BackingKind::kAnonymous, HugePages::kTransparent});
    cases.push_back({"userfaultfd", 4096, 2, chunk, BackingKind::kMemfd, HugePages::kTransparent});
  }
  return cases;
}

class TrackerTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    ToyConfig config;
    config.page_size_bytes = GetParam().page_size_bytes;
    config.vcpus = GetParam().vcpus;
    config.backing = GetParam().backing;
    config.huge_pages = GetParam().huge_pages;
    // Huge pages need room for some.
    config.data_pages = config.huge_pages == HugePages::kNever ? 96 : 2048;
    config.seed = GetParam().unprotect_pages * 7 + config.vcpus;
    config_ = config;
    subject_ = make_toy_machine(config);
    reference_ = make_toy_machine(config);
    TrackerOptions options;
    options.unprotect_pages = GetParam().unprotect_pages;
    auto tracker = make_tracker(GetParam().tracker, *subject_.machine, options);
    if (!tracker && tracker.error().code == Errc::kNotSupported) {
      GTEST_SKIP() << tracker.error().to_string();
    }
    ASSERT_TRUE(tracker) << tracker.error().to_string();
    tracker_ = *std::move(tracker);
    log_ = *make_tracker("dirty-log", *reference_.machine);
    compare_ = *make_tracker("compare", *subject_.machine);
  }

  // The tracker goes before the machine it works on.
  void TearDown() override {
    tracker_.reset();
    log_.reset();
    compare_.reset();
  }

  void arm_all() {
    const auto armed = subject_.machine->arm_dirty(*tracker_);
    ASSERT_TRUE(armed) << armed.error().to_string();
    ASSERT_TRUE(reference_.machine->arm_dirty(*log_));
    ASSERT_TRUE(compare_->arm());
  }

  void host_writes(std::mt19937_64& random) {
    for (int i = 0; i < 6; ++i) {
      const std::vector<GpaRange> data = testing::toy_layout(config_).data;
      const GpaRange range = data[random() % data.size()];
      std::vector<std::byte> bytes(1 + random() % 9000);
      for (std::byte& byte : bytes) {
        byte = static_cast<std::byte>(random());
      }
      const Gpa at = range.begin + random() % (range.size - bytes.size());
      ASSERT_TRUE(subject_.machine->memory().write(at, bytes));
      ASSERT_TRUE(reference_.machine->memory().write(at, bytes));
    }
  }

  // Compares one collection of the tracker with those of the oracles.
  void check_collections() {
    const auto seen = subject_.machine->collect_dirty(*tracker_);
    ASSERT_TRUE(seen) << seen.error().to_string();
    const GpaRanges written = *reference_.machine->collect_dirty(*log_);
    const GpaRanges changed = *compare_->collect();
    EXPECT_THAT(subtract(changed, *seen), ::testing::IsEmpty()) << "changed pages were missed";
    EXPECT_EQ(normalize(*seen), *seen);
    if (GetParam().tracker.starts_with("compare") || GetParam().tracker == "fork") {
      EXPECT_EQ(*seen, changed);
      EXPECT_THAT(subtract(*seen, written), ::testing::IsEmpty());
    } else if (tracker_->traits().exact) {
      EXPECT_EQ(*seen, written);
    } else if (over_approximates()) {
      // Of residency there is nothing to say: the oracle has touched every page.
      EXPECT_TRUE(GetParam().tracker == "residency" ||
                  total_bytes(*seen) < subject_.machine->memory().size_bytes());
    } else {
      EXPECT_THAT(subtract(written, *seen), ::testing::IsEmpty());
      const GpaRanges most = align_outward(written, tracker_->traits().granularity_bytes);
      EXPECT_THAT(subtract(*seen, most), ::testing::IsEmpty()) << "more than whole chunks";
    }
  }

  // Trackers that know what may have been written from what there is, not from writes.
  [[nodiscard]] static bool over_approximates() {
    return GetParam().tracker == "zero-scan" || GetParam().tracker == "residency" ||
           GetParam().tracker == "soft-dirty";
  }

  ToyConfig config_;
  ToyMachine subject_, reference_;
  std::unique_ptr<DirtyTracker> tracker_, log_, compare_;
};

TEST_P(TrackerTest, SeesWhatGuestAndHostWriteInEveryEpoch) {
  arm_all();
  std::mt19937_64 random(7);
  for (int epoch = 0; epoch < 6; ++epoch) {
    const std::uint64_t instructions = random() % 1500;
    ASSERT_TRUE(subject_.machine->step(instructions));
    ASSERT_TRUE(reference_.machine->step(instructions));
    if (epoch % 2 == 0) {
      host_writes(random);
    }
    check_collections();
  }
}

TEST_P(TrackerTest, ForgetsWhatWasWrittenBeforeItWasArmedAgain) {
  arm_all();
  ASSERT_TRUE(subject_.machine->step(700));
  ASSERT_TRUE(subject_.machine->disarm_dirty(*tracker_));
  ASSERT_TRUE(subject_.machine->step(700));  // Runs untracked, and unhindered.
  const auto armed = subject_.machine->arm_dirty(*tracker_);
  ASSERT_TRUE(armed) << armed.error().to_string();
  const auto none = subject_.machine->collect_dirty(*tracker_);
  ASSERT_TRUE(none) << none.error().to_string();
  EXPECT_TRUE(over_approximates() || none->empty());
  ASSERT_TRUE(compare_->collect());
  ASSERT_TRUE(subject_.machine->step(700));
  const auto seen = subject_.machine->collect_dirty(*tracker_);
  ASSERT_TRUE(seen);
  EXPECT_THAT(*seen, ::testing::Not(::testing::IsEmpty()));
  EXPECT_THAT(subtract(*compare_->collect(), *seen), ::testing::IsEmpty());
}

TEST_P(TrackerTest, MissesNothingWhileVcpusRunFreely) {
  arm_all();
  Machine& machine = *subject_.machine;
  for (int epoch = 0; epoch < 8; ++epoch) {
    const std::size_t before = subject_.output->output().size();
    ASSERT_TRUE(machine.resume());
    while (subject_.output->output().size() < before + 20) {
      std::this_thread::yield();  // The guest makes progress of its own.
    }
    ASSERT_TRUE(machine.pause(std::chrono::seconds(20)));
    const auto seen = machine.collect_dirty(*tracker_);
    ASSERT_TRUE(seen) << seen.error().to_string();
    EXPECT_THAT(subtract(*compare_->collect(), *seen), ::testing::IsEmpty());
  }
}

// Every vCPU is out of the guest while protection is armed, but anywhere in its program: what it
// writes right before and right after must be told apart, again and again.
TEST_P(TrackerTest, MissesNothingHoweverOftenItIsArmedInTheMiddleOfWork) {
  Machine& machine = *subject_.machine;
  ASSERT_TRUE(compare_->arm());
  for (int round = 0; round < 6; ++round) {
    const auto armed = machine.arm_dirty(*tracker_);
    ASSERT_TRUE(armed) << armed.error().to_string();
    ASSERT_TRUE(compare_->collect());  // What came before does not count.
    for (int epoch = 0; epoch < 2; ++epoch) {
      const std::size_t before = subject_.output->output().size();
      ASSERT_TRUE(machine.resume());
      while (subject_.output->output().size() < before + 5) {
        std::this_thread::yield();
      }
      ASSERT_TRUE(machine.pause(std::chrono::seconds(20)));
      const auto seen = machine.collect_dirty(*tracker_);
      ASSERT_TRUE(seen) << seen.error().to_string();
      const GpaRanges changed = *compare_->collect();
      EXPECT_THAT(changed, ::testing::Not(::testing::IsEmpty())) << "the test would prove nothing";
      EXPECT_THAT(subtract(changed, *seen), ::testing::IsEmpty());
    }
    ASSERT_TRUE(machine.disarm_dirty(*tracker_));
    const std::size_t before = subject_.output->output().size();
    ASSERT_TRUE(machine.resume());
    while (subject_.output->output().size() < before + 3) {
      std::this_thread::yield();
    }
    ASSERT_TRUE(machine.pause(std::chrono::seconds(20)));
  }
}

// What a collection misses because it was written a moment too late, the next one must have.
TEST_P(TrackerTest, LosesNothingBetweenCollectionsWhileVcpusRun) {
  if (!tracker_->traits().collects_while_running) {
    EXPECT_FALSE(promised_traits(GetParam().tracker, subject_.machine->capabilities())
                     .collects_while_running);
    return;
  }
  arm_all();
  Machine& machine = *subject_.machine;
  for (int epoch = 0; epoch < 3; ++epoch) {
    ASSERT_TRUE(machine.resume());
    GpaRanges seen;
    std::size_t last = subject_.output->output().size();
    for (int i = 0; i < 8; ++i) {
      const auto some = tracker_->collect();
      ASSERT_TRUE(some) << some.error().to_string();
      seen = unite(seen, *some);
      const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (subject_.output->output().size() == last) {
        ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "the guest does not go on";
        std::this_thread::yield();
      }
      last = subject_.output->output().size();
    }
    ASSERT_TRUE(machine.pause(std::chrono::seconds(20)));
    const auto rest = tracker_->collect();
    ASSERT_TRUE(rest) << rest.error().to_string();
    const GpaRanges changed = *compare_->collect();
    EXPECT_THAT(changed, ::testing::Not(::testing::IsEmpty()));
    EXPECT_THAT(subtract(changed, unite(seen, *rest)), ::testing::IsEmpty());
  }
}

std::vector<std::vector<std::byte>> copy_of(const GuestMemory& memory) {
  std::vector<std::vector<std::byte>> copy;
  for (const MemoryRegion& region : memory.regions()) {
    copy.emplace_back(region.host, region.host + region.range.size);
  }
  return copy;
}

// What a reset does: every round begins with the same memory, and the tracker sees the rounds only.
TEST_P(TrackerTest, OverlooksWhatTheHostPutsBack) {
  GuestMemory& memory = subject_.machine->memory();
  arm_all();
  const std::vector<std::vector<std::byte>> before = copy_of(memory);
  std::mt19937_64 random(11);
  for (int round = 0; round < 4; ++round) {
    ASSERT_TRUE(subject_.machine->step(300 + random() % 700));
    host_writes(random);
    const auto seen = subject_.machine->collect_dirty(*tracker_);
    ASSERT_TRUE(seen) << seen.error().to_string();
    EXPECT_THAT(subtract(*compare_->collect(), *seen), ::testing::IsEmpty());
    const auto overlooked = tracker_->overlook(*seen, [&]() -> Result<void> {
      for (std::size_t i = 0; i < before.size(); ++i) {
        const MemoryRegion& region = memory.regions()[i];
        for (const GpaRange& range : intersect(*seen, {region.range})) {
          const std::uint64_t at = range.begin.value - region.range.begin.value;
          std::copy_n(before[i].data() + at, range.size, region.host + at);
        }
      }
      return {};
    });
    ASSERT_TRUE(overlooked) << overlooked.error().to_string();
    EXPECT_EQ(copy_of(memory), before) << "something was missed";
    ASSERT_TRUE(compare_->collect());
    const auto none = subject_.machine->collect_dirty(*tracker_);
    ASSERT_TRUE(none) << none.error().to_string();
    EXPECT_TRUE(over_approximates() || none->empty()) << total_bytes(*none);
  }
}

TEST_P(TrackerTest, PassesOnWhyTheHostCouldNotPutSomethingBack) {
  arm_all();
  ASSERT_TRUE(subject_.machine->step(300));
  const GpaRanges seen = *subject_.machine->collect_dirty(*tracker_);
  ASSERT_TRUE(compare_->collect());
  const auto failed = tracker_->overlook(seen, [] {
    return Result<void>(Error{Errc::kIo, 0, "no bytes"});
  });
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, ::testing::HasSubstr("no bytes"));
  ASSERT_TRUE(subject_.machine->step(300));  // It tracks on.
  EXPECT_THAT(subtract(*compare_->collect(), *subject_.machine->collect_dirty(*tracker_)),
              ::testing::IsEmpty());
}

TEST_P(TrackerTest, KeepsWhatItsNamePromises) {
  const TrackerOptions options{GetParam().unprotect_pages};
  const TrackerTraits promised =
      promised_traits(GetParam().tracker, subject_.machine->capabilities(), options);
  const TrackerTraits& traits = tracker_->traits();
  EXPECT_EQ(traits.name, promised.name);
  EXPECT_EQ(traits.sees_host_writes, promised.sees_host_writes);
  EXPECT_TRUE(traits.exact || !promised.exact);
  EXPECT_EQ(traits.granularity_bytes, promised.granularity_bytes);
  EXPECT_EQ(traits.collects_while_running, promised.collects_while_running);
}

TEST_P(TrackerTest, RefusesCallsOutOfOrder) {
  EXPECT_EQ(tracker_->collect().error().code, Errc::kInvalidArgument);
  ASSERT_TRUE(tracker_->arm());
  EXPECT_EQ(tracker_->arm().error().code, Errc::kInvalidArgument);
  ASSERT_TRUE(tracker_->disarm());
  EXPECT_TRUE(tracker_->disarm()) << "a second disarm() has nothing to do";
  EXPECT_EQ(tracker_->collect().error().code, Errc::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(OnTheMock, TrackerTest, ::testing::ValuesIn(all_cases()));

TEST(TrackerCatalog, LogsThatABackendDoesNotKeepAreRefusedWithTheReason) {
  const ToyMachine toy = make_toy_machine({});
  for (const DirtyLogKind kind : {DirtyLogKind::kManualClear, DirtyLogKind::kRing}) {
    const auto refused = make_tracker(name_of(kind), *toy.machine);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::kNotSupported);
    EXPECT_THAT(refused.error().message, ::testing::HasSubstr("keeps no such log"));
  }
}

TEST(TrackerCatalog, EveryTrackerSaysWhatItCosts) {
  for (const Availability& tracker : list_trackers(Capabilities{})) {
    const TrackerCosts costs = tracker_costs(tracker.name);
    EXPECT_FALSE(costs.arming.empty()) << tracker.name;
    EXPECT_FALSE(costs.first_write.empty()) << tracker.name;
    EXPECT_FALSE(costs.collecting.empty()) << tracker.name;
  }
  EXPECT_TRUE(tracker_costs("psychic").arming.empty());
}

TEST(TrackerCatalog, OnlyDirtyRingAsksForRings) {
  Capabilities has;
  EXPECT_EQ(ring_entries_for("dirty-ring", has).error().code, Errc::kNotSupported);
  has.dirty_ring = {"dirty-ring", true, "", ""};
  has.dirty_ring_entries_max = 5000;
  EXPECT_EQ(*ring_entries_for("dirty-ring", has), 4096U) << "the largest power of two";
  EXPECT_EQ(*ring_entries_for("dirty-ring", has, {.ring_entries = 1024}), 1024U);
  EXPECT_EQ(ring_entries_for("dirty-ring", has, {.ring_entries = 1000}).error().code,
            Errc::kInvalidArgument);
  EXPECT_EQ(*ring_entries_for("dirty-log", has), 0U);
  EXPECT_EQ(*ring_entries_for("", has), 0U);
}

TEST(TrackerCatalog, ATrackerByMprotectIsRefusedWithTheReason) {
  const ToyMachine toy = make_toy_machine({});
  const auto refused = make_tracker("mprotect", *toy.machine);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kNotSupported);
  EXPECT_THAT(refused.error().message, ::testing::HasSubstr("use --tracker userfaultfd"));
}

TEST(TrackerCatalog, AutoTakesTheCheapestTrackerThatCanBeHad) {
  const ToyMachine toy = make_toy_machine({});
  TrackerOptions options;
  options.costs = CostTable{"invented", {{"dirty-ring", {}}, {"dirty-log", {.arm_ns = 1}}}};
  const auto log = make_auto_tracker(*toy.machine, options);
  ASSERT_TRUE(log) << log.error().message;
  EXPECT_EQ(log->tracker->traits().name, "dirty-log");
  EXPECT_THAT(log->reasons.front(), ::testing::HasSubstr("invented"));
  EXPECT_THAT(log->reasons.back(), ::testing::HasSubstr("therefore the tracker is dirty-log"));

  // The mock keeps no log of this kind: it is asked for, and passed over.
  options.costs =
      CostTable{"invented", {{"dirty-log-manual", {}}, {"compare-hash", {.arm_ns = 9}}}};
  const auto hash = make_auto_tracker(*toy.machine, options);
  ASSERT_TRUE(hash) << hash.error().message;
  EXPECT_EQ(hash->tracker->traits().name, "compare-hash");
  EXPECT_THAT(hash->reasons, ::testing::Contains(::testing::HasSubstr("cannot be had")));

  options.unprotect_pages = 3;
  EXPECT_EQ(make_auto_tracker(*toy.machine, options).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(make_tracker("auto", *toy.machine, options).error().code, Errc::kInvalidArgument);
}

TEST(TrackerCatalog, AutoDecidesByWhatTheGuestIsExpectedToWrite) {
  const ToyMachine toy = make_toy_machine({});
  const GuestMemory& memory = toy.machine->memory();
  const std::uint64_t pages = memory.size_bytes() / 4096;
  const Capabilities& can = toy.machine->capabilities();
  TrackerWorkload workload = workload_of(memory, can, 3, {});
  EXPECT_EQ(workload.memory_pages, pages);
  EXPECT_LE(workload.resident_pages, pages);
  EXPECT_EQ(workload.missing_pages, 0U);
  EXPECT_EQ(workload.dirty_pages, std::max<std::uint64_t>(pages / kExpectedDirtyShare, 1));
  EXPECT_EQ(workload.vcpus, 3U);
  EXPECT_FALSE(workload.is_live);
  EXPECT_TRUE(workload.backend_protects);
  workload = workload_of(
      memory, can, 1,
      {.expected_dirty_bytes = 4097, .use = TrackerUse::kLiveSaves, .pages_are_missing = true});
  EXPECT_EQ(workload.dirty_pages, std::min<std::uint64_t>(pages, 2));
  EXPECT_TRUE(workload.is_live);
  EXPECT_EQ(workload.missing_pages, pages - workload.resident_pages);
  workload = workload_of(memory, can, 1, {.expected_dirty_bytes = UINT64_MAX - 8192});
  EXPECT_EQ(workload.dirty_pages, pages) << "never more than there are";
}

}  // namespace
}  // namespace stasis::snapshot
