// Resets of sessions on the mock: what the command line and a fuzzer rely on.
#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/session/mock_session.h"
#include "tests/support/must.h"

namespace stasis::session {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class ResetOfMock : public MockSession {
 protected:
  std::unique_ptr<Session> warm(const std::string& toy, const std::string& tracker) {
    {
      auto session = must(launch(toy, 2));
      must(session->wait_ready(kWait));
      SaveOptions options;
      options.sync = false;
      options.replace_existing = true;
      must(session->save(path("warm"), options));
    }
    RestoreOptions options;
    options.tracker = tracker;
    return must(restore("warm", options));
  }
};

INSTANTIATE_TEST_SUITE_P(PageSizes, ResetOfMock, ::testing::Values(4096, 16384));

TEST_P(ResetOfMock, EachRequestIsTheFirst) {
  for (const std::string toy : {"counter", "busy"}) {
    for (const std::string tracker : {"dirty-log", "protection", "compare"}) {
      SCOPED_TRACE(toy + ", " + tracker);
      const auto session = warm(toy, tracker);
      for (int i = 0; i < 4; ++i) {
        expect_count(*session, 1);
        expect_count(*session, 2);
        const auto report = session->reset();
        ASSERT_OK(report);
        EXPECT_GT(report->dirty_bytes, 0U);
        EXPECT_LT(report->dirty_bytes, std::uint64_t{1} << 20U);
        EXPECT_TRUE(session->machine().is_paused());
        EXPECT_EQ(session->phase(), GuestPhase::kReady);
      }
    }
  }
}

TEST_P(ResetOfMock, AGuestThatExitedIsBack) {
  const auto session = warm("counter", "dirty-log");
  for (int i = 0; i < 2; ++i) {
    expect_count(*session, 1);
    ASSERT_FALSE(session->request(bytes_of("exit"), kWait));
    EXPECT_EQ(session->exit_code(), 2U);
    ASSERT_OK(session->reset());
    EXPECT_EQ(session->exit_code(), std::nullopt);
    EXPECT_EQ(session->phase(), GuestPhase::kReady);
  }
  expect_count(*session, 1);
}

TEST_P(ResetOfMock, ARequestWithoutAnAnswerIsForgotten) {
  const auto session = warm("deaf", "dirty-log");
  const auto silent = session->request(bytes_of("hello?"), std::chrono::milliseconds(0));
  ASSERT_FALSE(silent);
  ASSERT_EQ(silent.error().code, Errc::kTimeout);
  ASSERT_OK(session->reset());
  EXPECT_EQ(session->take_response(kWait).error().code, Errc::kInvalidArgument);
}

TEST_P(ResetOfMock, ItGoesBackToWhatWasSavedLast) {
  const auto session = warm("counter", "dirty-log");
  expect_count(*session, 1);
  SaveOptions diff;
  diff.kind = SaveKind::kDiff;
  diff.sync = false;
  ASSERT_OK(session->reset());
  expect_count(*session, 1);
  expect_count(*session, 2);
  ASSERT_OK(session->save(path("after-two"), diff));
  for (int i = 0; i < 3; ++i) {
    expect_count(*session, 3);
    expect_count(*session, 4);
    ASSERT_OK(session->reset());
  }
  // Nothing that a reset put back is missing in the next difference.
  expect_count(*session, 3);
  ASSERT_OK(session->save(path("after-three"), diff));
  const auto restored = restore("after-three");
  ASSERT_OK(restored);
  expect_count(**restored, 4);
}

TEST_P(ResetOfMock, WithoutATrackerFromTheBeginningItSaysWhatToDo) {
  auto session = warm("counter", "");
  auto refused = session->reset();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(refused.error().message, HasSubstr("no dirty tracker is armed"));
  EXPECT_THAT(refused.error().message, HasSubstr("name a tracker"));
  expect_count(*session, 1);
  ASSERT_OK(session->track("dirty-log", {}));
  refused = session->reset();
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("when it had run already"));
  expect_count(*session, 2);  // It goes on.
  auto launched = launch("counter");
  ASSERT_OK(launched);
  EXPECT_EQ((*launched)->reset().error().code, Errc::kInvalidArgument);
}

TEST_P(ResetOfMock, ASnapshotThatWasReplacedBeforeTheFirstResetIsNotGoneTo) {
  const auto session = warm("counter", "dirty-log");
  expect_count(*session, 1);
  {
    const auto other = must(launch("counter", 2));
    must(other->wait_ready(kWait));
    SaveOptions options;
    options.replace_existing = true;
    must(other->save(path("warm"), options));
  }
  const auto refused = session->reset();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kMismatch);
  EXPECT_THAT(refused.error().message, HasSubstr("was replaced"));
  const auto unasked = session->request(bytes_of("next"), kWait);
  ASSERT_FALSE(unasked) << "it would be the second of the guest that was to be reset";
  EXPECT_THAT(unasked.error().message, HasSubstr("was not reset"));
}

TEST_P(ResetOfMock, AfterOneThatFailedTheGuestAnswersNothingAndIsNotSaved) {
  const auto session = warm("counter", "dirty-log");
  expect_count(*session, 1);
  fs::resize_file(path("warm/memory"), 0);
  ASSERT_FALSE(session->reset());
  EXPECT_FALSE(session->request(bytes_of("next"), kWait));
  SaveOptions options;
  EXPECT_FALSE(session->save(path("after"), options));
  EXPECT_FALSE(fs::exists(path("after")));
}

}  // namespace
}  // namespace stasis::session
