// Saving a session while its guest runs, on the mock: requests are answered meanwhile, what would
// disturb the save is refused, and what it saved goes on.
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "session/backends.h"
#include "session/session.h"
#include "snapshot/operations.h"
#include "snapshot/snapshot_chain.h"

namespace stasis::session {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr std::chrono::nanoseconds kWait = seconds(20);

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

#define ASSERT_OK(expression)                                      \
  do {                                                             \
    const auto& result = (expression);                             \
    ASSERT_TRUE(result.has_value()) << result.error().to_string(); \
  } while (false)

class LiveSave : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "stasis-live-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    auto backend = make_backend("mock", {});
    ASSERT_OK(backend);
    backend_ = *std::move(backend);
    LaunchOptions options;
    options.guest = "toy:counter";
    options.memory_bytes = std::uint64_t{16} << 20U;
    auto session = Session::launch(*backend_, options);
    ASSERT_OK(session);
    session_ = *std::move(session);
    ASSERT_OK(session_->wait_ready(kWait));
    expect_count(*session_, 1);
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  SaveOptions live_options() const {
    SaveOptions options;
    options.sync = false;
    options.replace_existing = true;
    options.live = snapshot::LiveOptions{.mechanism = GetParam()};
    return options;
  }
  static void expect_count(Session& session, int count) {
    const auto response = session.request(bytes_of("next"), kWait);
    ASSERT_OK(response);
    std::string digits = std::to_string(count);
    digits.insert(0, 8 - digits.size(), '0');
    EXPECT_EQ(
        std::string(reinterpret_cast<const char*>(response->bytes.data()), response->bytes.size()),
        "count=" + digits);
  }
  // Nothing but the snapshots that are named.
  std::vector<std::string> left() const {
    std::vector<std::string> names;
    for (const fs::directory_entry& entry : fs::directory_iterator(directory_)) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

  std::string directory_;
  std::unique_ptr<HypervisorBackend> backend_;
  std::unique_ptr<Session> session_;
};

INSTANTIATE_TEST_SUITE_P(Mechanisms, LiveSave,
                         ::testing::Values("auto", "userfaultfd", "fork", "protection"),
                         [](const auto& mechanism) { return mechanism.param; });

// Of what this host does not have there is nothing to see.
#define SKIP_UNLESS_BEGUN(begun)                                 \
  if (!(begun) && (begun).error().code == Errc::kNotSupported) { \
    GTEST_SKIP() << (begun).error().to_string();                 \
  }                                                              \
  ASSERT_OK(begun)

TEST_P(LiveSave, AnswersRequestsMeanwhileAndHoldsNoneOfThem) {
  std::atomic<bool> may_end = false;
  SaveOptions options = live_options();
  options.progress = [&may_end](std::uint64_t, std::uint64_t) {
    while (!may_end.load()) {
      std::this_thread::yield();
    }
  };
  const auto begun = session_->begin_live_save(path("warm"), options);
  SKIP_UNLESS_BEGUN(begun);
  expect_count(*session_, 2);
  expect_count(*session_, 3);
  EXPECT_FALSE(fs::exists(path("warm"))) << "nothing is visible before it is complete";
  may_end.store(true);
  const auto saved = session_->finish_live_save();
  ASSERT_OK(saved);
  ASSERT_TRUE(saved->live.has_value());
  EXPECT_GT(saved->paused_ns, 0);
  expect_count(*session_, 4);
  auto restored = Session::restore(*backend_, path("warm"), {});
  ASSERT_OK(restored);
  expect_count(**restored, 2);  // The first after the moment of the save.
}

TEST_P(LiveSave, RefusesWhatWouldDisturbIt) {
  const auto begun = session_->begin_live_save(path("warm"), live_options());
  SKIP_UNLESS_BEGUN(begun);
  for (const Result<void>& refused : {session_->begin_live_save(path("second"), live_options()),
                                      session_->track("compare", {})}) {
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
    EXPECT_THAT(refused.error().message, HasSubstr("a live save to '" + path("warm")));
  }
  EXPECT_EQ(session_->save(path("third"), {}).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(session_->dirty().error().code, Errc::kInvalidArgument);
  EXPECT_EQ(session_->record_working_set().error().code, Errc::kInvalidArgument);
  ASSERT_OK(session_->finish_live_save());
  EXPECT_EQ(session_->finish_live_save().error().code, Errc::kInvalidArgument);
  EXPECT_THAT(left(), ::testing::ElementsAre("warm"));
  expect_count(*session_, 2);
}

// Each difference holds what changed before its moment, and the next one what changed since.
TEST_P(LiveSave, DifferencesFollowEachOther) {
  ASSERT_OK(session_->save(path("s0"), [] {
    SaveOptions still;
    still.sync = false;
    still.then_track = "dirty-log";
    return still;
  }()));
  int count = 1;
  for (int i = 1; i <= 3; ++i) {
    expect_count(*session_, ++count);
    SaveOptions options = live_options();
    options.kind = SaveKind::kDiff;
    options.full_copy = path("full" + std::to_string(i));
    const auto begun = session_->begin_live_save(path("s" + std::to_string(i)), options);
    SKIP_UNLESS_BEGUN(begun);
    expect_count(*session_, ++count);
    const auto saved = session_->finish_live_save();
    ASSERT_OK(saved);
    EXPECT_LT(saved->dirty_bytes, saved->memory_bytes / 4);
    snapshot::FileSystem& files = snapshot::posix_file_system();
    const auto difference = snapshot::SnapshotChain::open(files, path("s" + std::to_string(i)));
    const auto full = snapshot::SnapshotChain::open(files, path("full" + std::to_string(i)));
    ASSERT_OK(difference);
    ASSERT_OK(full);
    const auto report = snapshot::verify_diff(files, **difference, **full, 1, {});
    ASSERT_OK(report);
    EXPECT_TRUE(report->complete());
  }
  auto restored = Session::restore(*backend_, path("s3"), {});
  ASSERT_OK(restored);
  expect_count(**restored, count);
}

TEST_P(LiveSave, OfADifferenceWithoutATrackerIsRefused) {
  SaveOptions still;
  still.sync = false;
  ASSERT_OK(session_->save(path("s0"), still));
  expect_count(*session_, 2);
  SaveOptions options = live_options();
  options.kind = SaveKind::kDiff;
  const auto refused = session_->save(path("s1"), options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(refused.error().message, HasSubstr("--tracker"));
  // Armed too late, when the guest had written already.
  ASSERT_OK(session_->track("dirty-log", {}));
  const auto late = session_->save(path("s1"), options);
  ASSERT_FALSE(late);
  EXPECT_THAT(late.error().message, HasSubstr("armed when the guest had written"));
  EXPECT_THAT(left(), ::testing::ElementsAre("s0"));
  expect_count(*session_, 3);
}

TEST_P(LiveSave, OneThatFailsLosesNoChange) {
  ASSERT_OK(session_->save(path("s0"), [] {
    SaveOptions still;
    still.sync = false;
    still.then_track = "dirty-log";
    return still;
  }()));
  expect_count(*session_, 2);
  std::atomic<bool> cancel = false;
  SaveOptions options = live_options();
  options.kind = SaveKind::kDiff;
  options.cancel = &cancel;
  const auto begun = session_->begin_live_save(path("s1"), options);
  SKIP_UNLESS_BEGUN(begun);
  // Given up when it may have ended or not: both are right, and the next one holds all.
  cancel.store(true);
  const bool saved = session_->finish_live_save().has_value();
  expect_count(*session_, 3);
  cancel.store(false);
  ASSERT_OK(session_->save(path("s2"), options));
  EXPECT_EQ(fs::exists(path("s1")), saved);
  auto restored = Session::restore(*backend_, path("s2"), {});
  ASSERT_OK(restored);
  expect_count(**restored, 4);
}

TEST_P(LiveSave, ASessionCanEndInTheMiddleOfIt) {
  const auto begun = session_->begin_live_save(path("warm"), live_options());
  SKIP_UNLESS_BEGUN(begun);
  session_.reset();
  for (const std::string& name : left()) {
    EXPECT_EQ(name, "warm") << "published, or nothing is left";
  }
}

}  // namespace
}  // namespace stasis::session
