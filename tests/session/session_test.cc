// Sessions on the mock: what the command line and the experiments rely on.
#include "session/session.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "session/toy_guests.h"
#include "snapshot/snapshot_chain.h"
#include "tests/session/mock_session.h"

namespace stasis::session {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

INSTANTIATE_TEST_SUITE_P(PageSizes, MockSession, ::testing::Values(4096, 16384));

TEST_P(MockSession, ATimedOutRequestCanStillBeAnswered) {
  auto session = launch("counter");
  ASSERT_OK(session);
  ASSERT_OK((*session)->wait_ready(kWait));
  auto response = (*session)->request(bytes_of("one"), milliseconds(0));
  if (!response) {
    EXPECT_EQ(response.error().code, Errc::kTimeout);
    response = (*session)->take_response(kWait);
  }
  ASSERT_OK(response);
  EXPECT_EQ(text_of(*response), "count=00000001");
  EXPECT_EQ((*session)->take_response(milliseconds(0)).error().code, Errc::kInvalidArgument);
}

TEST_P(MockSession, TheExitCodeIsTheGuests) {
  auto session = launch("counter");
  ASSERT_OK(session);
  expect_count(**session, 1);
  EXPECT_EQ((*session)->request(bytes_of("exit now"), kWait).error().code, Errc::kGuestFault);
  EXPECT_EQ((*session)->phase(), GuestPhase::kExited);
  EXPECT_EQ((*session)->exit_code(), 2U);
  EXPECT_EQ(*(*session)->wait_exit(kWait), 2U);
}

TEST_P(MockSession, SavingDoesNotDisturbTheGuest) {
  auto session = launch("busy");
  ASSERT_OK(session);
  ASSERT_OK((*session)->wait_ready(kWait));
  for (int i = 1; i <= 3; ++i) {
    expect_count(**session, i);
    SaveOptions options;
    options.replace_existing = true;
    options.sync = false;
    ASSERT_OK((*session)->save(path("warm"), options));
  }
  expect_count(**session, 4);
  auto restored = restore("warm");
  ASSERT_OK(restored);
  expect_count(**restored, 4);  // The first after the three that were saved.
}

// With and without a tracker, armed in time or too late: the chain always holds all changes.
TEST_P(MockSession, DifferencesAreCompleteHoweverTheyWereTracked) {
  auto first = launch("counter");
  ASSERT_OK(first);
  ASSERT_OK((*first)->wait_ready(kWait));
  SaveOptions full;
  full.sync = false;
  ASSERT_OK((*first)->save(path("s0"), full));
  first->reset();
  int depth = 0;
  int count = 0;
  for (const std::string tracker : {"", "compare", "protection", "late", "compare-hash"}) {
    SCOPED_TRACE(tracker);
    RestoreOptions options;
    options.policy = depth % 2 == 0 ? "lazy" : "eager";
    options.tracker = tracker == "late" ? "" : tracker;
    auto session = restore("s" + std::to_string(depth), options);
    ASSERT_OK(session);
    expect_count(**session, ++count);
    if (tracker == "late") {
      ASSERT_OK((*session)->track("compare", {}));
    }
    expect_count(**session, ++count);
    SaveOptions diff;
    diff.kind = SaveKind::kDiff;
    diff.sync = false;
    ++depth;
    const auto report = (*session)->save(path("s" + std::to_string(depth)), diff);
    ASSERT_OK(report);
    EXPECT_LT(report->dirty_bytes, std::uint64_t{1} << 20U);
    // The session goes on, and its next difference has this one as its parent.
    expect_count(**session, ++count);
    ++depth;
    ASSERT_OK((*session)->save(path("s" + std::to_string(depth)), diff));
  }
  auto last = restore("s" + std::to_string(depth));
  ASSERT_OK(last);
  const auto chain = snapshot::SnapshotChain::open(snapshot::posix_file_system(), path("s10"));
  ASSERT_OK(chain);
  EXPECT_EQ((*chain)->depth(), 11U);
  const auto response = (*last)->request(bytes_of("next"), kWait);
  ASSERT_OK(response);
  EXPECT_EQ(text_of(*response), "count=00000016");
}

TEST_P(MockSession, ADifferenceNeedsAParentThatIsStillThere) {
  auto session = launch("counter");
  ASSERT_OK(session);
  ASSERT_OK((*session)->wait_ready(kWait));
  SaveOptions diff;
  diff.kind = SaveKind::kDiff;
  EXPECT_EQ((*session)->save(path("child"), diff).error().code, Errc::kInvalidArgument);
  ASSERT_OK((*session)->save(path("warm"), {}));
  auto other = launch("counter");
  ASSERT_OK(other);
  ASSERT_OK((*other)->wait_ready(kWait));
  SaveOptions replace;
  replace.replace_existing = true;
  ASSERT_OK((*other)->save(path("warm"), replace));
  const auto refused = (*session)->save(path("child"), diff);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::kMismatch);
  EXPECT_FALSE(fs::exists(path("child")));
  expect_count(**session, 1);  // A refused save leaves the guest as it was.
}

TEST_P(MockSession, ManyLabelsComeBack) {
  auto session = launch("counter");
  ASSERT_OK(session);
  ASSERT_OK((*session)->wait_ready(kWait));
  SaveOptions options;
  for (int i = 0; i < 200; ++i) {
    options.labels.push_back({"label" + std::to_string(i), std::string(100, 'x')});
  }
  ASSERT_OK((*session)->save(path("warm"), options));
  const auto chain = snapshot::SnapshotChain::open(snapshot::posix_file_system(), path("warm"));
  ASSERT_OK(chain);
  EXPECT_GE((*chain)->manifest().labels.size(), 200U);
  ASSERT_OK(restore("warm"));
}

TEST_P(MockSession, CancelledAndFailedSavesLeaveNothing) {
  auto session = launch("counter");
  ASSERT_OK(session);
  ASSERT_OK((*session)->wait_ready(kWait));
  const std::atomic<bool> cancel = true;
  SaveOptions options;
  options.cancel = &cancel;
  EXPECT_FALSE((*session)->save(path("warm"), options).has_value());
  EXPECT_TRUE(fs::is_empty(directory_));
  EXPECT_FALSE((*session)->save(path("nowhere/warm"), {}).has_value());
  expect_count(**session, 1);
  ASSERT_OK((*session)->save(path("warm"), {}));
}

TEST_P(MockSession, ALazyGuestWhosePayloadIsCutShortFailsAndIsNotSaved) {
  {
    auto session = launch("counter");
    ASSERT_OK(session);
    ASSERT_OK((*session)->wait_ready(kWait));
    ASSERT_OK((*session)->save(path("warm"), {}));
  }
  RestoreOptions options;
  options.start = StartMode::kPaused;
  auto asked = restore("warm", options);
  auto saved = restore("warm", options);
  ASSERT_OK(asked);
  ASSERT_OK(saved);
  fs::resize_file(path("warm/memory"), 0);
  const auto response = (*asked)->request(bytes_of("next"), kWait);
  ASSERT_FALSE(response);
  EXPECT_THAT(response.error().message, HasSubstr("cut short"));
  const auto report = (*saved)->save(path("after"), {});
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().message, HasSubstr("cut short"));
  EXPECT_FALSE(fs::exists(path("after")));
  // And is refused by whoever comes now.
  const auto late = restore("warm", options);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::kCorruption);
}

TEST_P(MockSession, SettleEndsForGuestsThatNeverRing) {
  auto session = launch("busy");
  ASSERT_OK(session);
  ASSERT_OK((*session)->wait_ready(kWait));
  ASSERT_OK((*session)->save(path("held"), {}));
  expect_count(**session, 1);
  ASSERT_OK((*session)->save(path("computing"), {}));
  for (const char* name : {"held", "computing"}) {
    auto restored = restore(name);
    ASSERT_OK(restored);
    ASSERT_OK((*restored)->settle(milliseconds(100)));
  }
}

TEST_P(MockSession, MilestonesOfARestoreAreComplete) {
  auto session = launch("counter", 2);
  ASSERT_OK(session);
  ASSERT_OK((*session)->wait_ready(kWait));
  ASSERT_OK((*session)->save(path("warm"), {}));
  RestoreOptions options;
  options.spawned_at = 1;
  auto restored = restore("warm", options);
  ASSERT_OK(restored);
  expect_count(**restored, 1);
  for (const Milestone milestone :
       {Milestone::kSpawn, Milestone::kBegin, Milestone::kHeader, Milestone::kVmCreated,
        Milestone::kState, Milestone::kMapped, Milestone::kPrefetched, Milestone::kVcpuEnter,
        Milestone::kFirstResponse, Milestone::kDone}) {
    EXPECT_TRUE((*restored)->milestones().at(milestone).has_value()) << name_of(milestone);
  }
  // A toy guest cannot read the host's counter: nothing is invented.
  EXPECT_FALSE((*restored)->milestones().at(Milestone::kFirstInstruction).has_value());
  const auto counters = (*restored)->counters();
  ASSERT_OK(counters);
  EXPECT_EQ(counters->requests, 1U);
  EXPECT_GT(counters->machine.io_exits, 0U);
  expect_count(**restored, 2);  // Counting does not stop the guest.
}

TEST(Backends, TheMockIsNeverChosenByItself) {
  BackendOptions options;
  options.kvm_device = "/nonexistent/kvm";
  const auto backend = make_backend("auto", options);
  ASSERT_FALSE(backend.has_value());
  EXPECT_EQ(backend.error().code, Errc::kNotSupported);
  EXPECT_THAT(backend.error().message, HasSubstr("/nonexistent/kvm"));
  EXPECT_EQ(make_backend("vmware").error().code, Errc::kInvalidArgument);
  EXPECT_EQ(make_backend("hvf").error().code, Errc::kNotSupported);
}

TEST(ToyGuests, AreListedAndAnUnknownOneIsAnsweredWithTheList) {
  EXPECT_GE(list_toy_guests().size(), 5U);
  auto backend = make_backend("mock");
  ASSERT_OK(backend);
  LaunchOptions options;
  options.guest = "toy:nothing";
  const auto session = Session::launch(**backend, options);
  ASSERT_FALSE(session.has_value());
  EXPECT_EQ(session.error().code, Errc::kNotFound);
  EXPECT_THAT(session.error().message, HasSubstr("counter"));
}

}  // namespace
}  // namespace stasis::session
