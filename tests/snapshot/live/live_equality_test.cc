// Live captures of the mock's guests that never stop writing, by every mechanism: equal to a
// stop-the-world snapshot of the same moment.
//
// STASIS_LIVE_CAPTURES sets how many captures each case makes (live_case.h).
#include <atomic>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/live/mechanism_catalog.h"
#include "snapshot/policies/policy_catalog.h"
#include "snapshot/restore/restorer.h"
#include "snapshot/trackers/tracker_catalog.h"
#include "tests/snapshot/behaviour/toy_machine.h"
#include "tests/snapshot/live/live_case.h"

namespace stasis::snapshot {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::LiveCase;
using testing::ToyConfig;
using testing::ToyMachine;

constexpr std::chrono::seconds kPause{30};
// Behind the first vCPU's program, in its part of the memory for code.
constexpr GpaRange kHostData{Gpa{0x20000}, 0x20000};

struct Case {
  std::string mechanism;
  std::uint32_t vcpus = 1;
  std::string tracker = {};  // Differential captures with it.
  std::uint32_t unprotect_pages = 1;
  std::uint64_t page_size_bytes = 4096;
  BackingKind backing = BackingKind::kAnonymous;
  std::uint64_t buffer_bytes = std::uint64_t{64} << 20U;
};

void PrintTo(const Case& c, std::ostream* out) {  // NOLINT(readability-identifier-naming)
  *out << c.mechanism << ", " << c.vcpus << " vCPUs, "
       << (c.tracker.empty() ? "full" : "tracker " + c.tracker) << ", " << c.unprotect_pages
       << " pages a fault, " << c.page_size_bytes << "-byte pages, " << name_of(c.backing) << ", "
       << c.buffer_bytes << " bytes of buffer";
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const char* const mechanism : {"userfaultfd", "fork", "protection"}) {
    for (const std::uint32_t vcpus : {1U, 2U, 4U}) {
      cases.push_back({mechanism, vcpus});
    }
    cases.push_back({mechanism, 2, "", 1, 16384});
    for (const char* const tracker : {"compare", "dirty-log", "protection"}) {
      cases.push_back({mechanism, 2, tracker});
    }
    if (mechanism != std::string("fork")) {
      cases.push_back({mechanism, 3, "", 1, 4096, BackingKind::kMemfd});
      cases.push_back({mechanism, 2, "", 1, 4096, BackingKind::kAnonymous, 16 * 4096});
      cases.push_back({mechanism, 2, "dirty-log", 1, 4096, BackingKind::kAnonymous, 4096});
    }
  }
  cases.push_back({"protection", 2, "protection", 8});
  cases.push_back({"auto", 2, "protection"});
  cases.push_back({"auto", 2, "userfaultfd"});
  cases.push_back({"auto", 2, "pagemap-scan"});
  cases.push_back({"auto", 2, "fork"});
  return cases;
}

class LiveCaptureOfToy : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const Case& parameters = GetParam();
    ToyConfig config;
    config.vcpus = parameters.vcpus;
    config.page_size_bytes = parameters.page_size_bytes;
    config.backing = parameters.backing;
    config.data_pages = 48;
    config.operations = 120;
    config.seed = parameters.vcpus * 17 + parameters.unprotect_pages;
    toy_ = testing::make_toy_machine(config);
    toy_.output->keep_at_most(100);
    saves_.emplace(*toy_.machine);
    saves_->live.mechanism = parameters.mechanism;
    saves_->live.buffer_bytes = parameters.buffer_bytes;
    // The host writes beside the guest, as devices do; not to the same bytes at the same time,
    // which a device would order.
    saves_->meanwhile = [this] {
      for (std::uint64_t i = random_() % 8; i > 0; --i) {
        const std::vector<std::byte> bytes(1 + random_() % 6000, static_cast<std::byte>(random_()));
        EXPECT_TRUE(toy_.machine->memory().write(
            kHostData.begin + random_() % (kHostData.size - bytes.size()), bytes));
      }
    };
  }
  void TearDown() override {
    saves_.reset();
    if (dirty_) {
      EXPECT_TRUE(toy_.machine->pause(kPause));
      EXPECT_TRUE(dirty_->disarm());
    }
    dirty_.reset();
    tracker_.reset();
  }

  void run_for_a_while() const {
    const std::uint64_t before = toy_.output->count();
    while (toy_.output->count() < before + 3) {
      std::this_thread::yield();
    }
  }
  static bool cannot_work(const Error& error) { return error.code == Errc::kNotSupported; }

  ToyMachine toy_;
  std::optional<LiveCase> saves_;
  std::unique_ptr<DirtyTracker> tracker_;
  std::optional<DirtyAccumulator> dirty_;
  std::mt19937_64 random_{7};
};

TEST_P(LiveCaptureOfToy, IsWhatAStillOneOfTheSameMomentIs) {
  const Case& parameters = GetParam();
  if (!parameters.tracker.empty()) {
    TrackerOptions options;
    options.unprotect_pages = parameters.unprotect_pages;
    auto tracker = make_tracker(parameters.tracker, *toy_.machine, options);
    if (!tracker && cannot_work(tracker.error())) {
      GTEST_SKIP() << tracker.error().to_string();
    }
    ASSERT_TRUE(tracker) << tracker.error().to_string();
    tracker_ = *std::move(tracker);
    dirty_.emplace(*toy_.machine, *tracker_);
    saves_->dirty = &*dirty_;
    saves_->tracker = tracker_.get();
    const auto armed = saves_->save_parent();
    ASSERT_TRUE(armed) << armed.error().to_string();
  }
  ASSERT_TRUE(toy_.machine->resume());
  for (std::uint32_t i = 0; i < testing::live_captures(6); ++i) {
    run_for_a_while();
    if (parameters.tracker.empty()) {
      const auto report = saves_->full_pair();
      if (!report && cannot_work(report.error())) {
        GTEST_SKIP() << report.error().to_string();
      }
      ASSERT_TRUE(report) << report.error().to_string();
      EXPECT_THAT(report->pages, IsEmpty()) << "capture " << i;
      EXPECT_THAT(report->fields, IsEmpty()) << "capture " << i;
    } else {
      const auto report = saves_->diff_pair();
      if (!report && cannot_work(report.error())) {
        GTEST_SKIP() << report.error().to_string();
      }
      ASSERT_TRUE(report) << report.error().to_string();
      EXPECT_THAT(report->missed, IsEmpty()) << "capture " << i;
      EXPECT_THAT(report->wrong, IsEmpty()) << "capture " << i;
      EXPECT_THAT(report->state, IsEmpty()) << "capture " << i;
      EXPECT_THAT(report->changed, ::testing::Not(IsEmpty()));
    }
    EXPECT_FALSE(toy_.machine->is_paused()) << "the guest runs on";
    if (saves_->last().mechanism != "fork") {
      EXPECT_GT(saves_->last().counters.write_faults, 0U) << "the test would prove nothing";
    }
  }
  run_for_a_while();  // It still can.
  ASSERT_TRUE(toy_.machine->pause(kPause));
}

INSTANTIATE_TEST_SUITE_P(OnTheMock, LiveCaptureOfToy, ::testing::ValuesIn(all_cases()));

// What it saves can be run, and the guest that was saved goes on as if nothing had been.
TEST(LiveCapture, LeavesTheCourseOfTheGuestAsItWas) {
  ToyConfig config;
  config.data_pages = 24;
  ToyMachine undisturbed = testing::make_toy_machine(config);
  ASSERT_TRUE(undisturbed.machine->step(40000));
  const std::uint64_t expected = testing::memory_hash(undisturbed.machine->memory());

  ToyMachine saved = testing::make_toy_machine(config);
  ASSERT_TRUE(saved.machine->step(15000));
  LiveCase saves(*saved.machine);
  saves.do_not_wait_for_writes();
  saves.live.mechanism = "protection";
  // It is a capture of a paused Machine, which is stepped while its pages are written.
  saves.meanwhile = [&] { ASSERT_TRUE(saved.machine->step(25000)); };
  const auto report = saves.full_pair();
  ASSERT_TRUE(report) << report.error().to_string();
  EXPECT_THAT(report->pages, IsEmpty());
  EXPECT_EQ(saves.last().pause.paused_ns, 0);
  EXPECT_EQ(testing::memory_hash(saved.machine->memory()), expected);

  auto chain = SnapshotChain::open(saves.files(), "/live");
  ASSERT_TRUE(chain) << chain.error().to_string();
  const auto backend = testing::make_toy_backend(config);
  testing::ToyBus bus = testing::make_toy_bus();
  const PlanInput input = plan_input(**chain);
  const auto plan = make_plan("eager", input, {});
  ASSERT_TRUE(plan) << plan.error().to_string();
  RestoreOptions options;
  options.start = StartMode::kPaused;
  auto restored = restore(**chain, input, *plan, *backend, std::move(bus.bus), options);
  ASSERT_TRUE(restored) << restored.error().to_string();
  ASSERT_TRUE((*restored)->step(25000));
  EXPECT_EQ(testing::memory_hash((*restored)->memory()), expected);
  EXPECT_EQ(bus.output->output(), undisturbed.output->output());
}

TEST(LiveCapture, OfADifferenceWantsATracker) {
  const ToyMachine toy = testing::make_toy_machine({});
  MemoryFileSystem files;
  ASSERT_TRUE(capture_full(*toy.machine, files, "/parent", LiveCase::options(nullptr)));
  const auto parent = SnapshotChain::open(files, "/parent");
  ASSERT_TRUE(parent);
  LiveRequest request;
  request.target = "/live";
  request.capture = LiveCase::options(parent->get());
  const auto capture = LiveCapture::begin(*toy.machine, files, std::move(request));
  ASSERT_FALSE(capture);
  EXPECT_EQ(capture.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(capture.error().message, HasSubstr("--tracker"));
}

TEST(LiveCapture, NamesTheMechanismsWhenAskedForAnother) {
  const ToyMachine toy = testing::make_toy_machine({});
  MemoryFileSystem files;
  LiveRequest request;
  request.target = "/live";
  request.live.mechanism = "magic";
  const auto capture = LiveCapture::begin(*toy.machine, files, std::move(request));
  ASSERT_FALSE(capture);
  EXPECT_EQ(capture.error().code, Errc::kInvalidArgument);
  for (const Availability& mechanism : list_live_mechanisms(toy.machine->capabilities())) {
    EXPECT_THAT(capture.error().message, HasSubstr(mechanism.name));
  }
  EXPECT_THAT(files.files(), IsEmpty());
}

TEST(LiveCapture, ByUserfaultfdIsRefusedBesideATrackerThatUsesItToo) {
  const ToyMachine toy = testing::make_toy_machine({});
  auto tracker = make_tracker("userfaultfd", *toy.machine);
  if (!tracker) {
    GTEST_SKIP() << tracker.error().to_string();
  }
  DirtyAccumulator dirty(*toy.machine, **tracker);
  ASSERT_TRUE(dirty.arm());
  MemoryFileSystem files;
  LiveRequest request;
  request.target = "/live";
  request.live.mechanism = "userfaultfd";
  request.dirty = &dirty;
  request.tracker = tracker->get();
  const auto capture = LiveCapture::begin(*toy.machine, files, std::move(request));
  ASSERT_FALSE(capture);
  EXPECT_EQ(capture.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(capture.error().message, HasSubstr("--live-by fork"));
  ASSERT_TRUE(dirty.disarm());
}

TEST(LiveCapture, ByProtectionIsRefusedWhileAnotherRuns) {
  const ToyMachine toy = testing::make_toy_machine({});
  MemoryFileSystem files;
  LiveRequest request;
  request.target = "/live";
  request.live.mechanism = "protection";
  LiveRequest second = request;
  second.target = "/second";
  std::atomic<bool> over = false;
  // The first one cannot end before the second one has been asked for.
  request.capture.writer.supervision.progress = [&over](std::uint64_t, std::uint64_t) {
    while (!over.load()) {
      std::this_thread::yield();
    }
  };
  const auto capture = LiveCapture::begin(*toy.machine, files, std::move(request));
  ASSERT_TRUE(capture) << capture.error().to_string();
  const auto another = LiveCapture::begin(*toy.machine, files, std::move(second));
  over.store(true);
  ASSERT_FALSE(another);
  EXPECT_EQ(another.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(another.error().message, HasSubstr("a live capture runs"));
  const auto report = (*capture)->finish();
  EXPECT_TRUE(report) << report.error().to_string();
}

}  // namespace
}  // namespace stasis::snapshot
