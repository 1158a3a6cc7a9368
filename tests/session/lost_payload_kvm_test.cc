// What KVM reports, and what the host meets, when the payload that a lazy guest runs on is cut.
#include <stdlib.h>

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "session/backends.h"
#include "session/session.h"
#include "snapshot/restore/requirements.h"
#include "tests/support/must.h"

namespace stasis::session {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr std::chrono::nanoseconds kWait = std::chrono::seconds(20);

class LostPayloadOnKvm : public ::testing::Test {
 protected:
  void SetUp() override {
    auto backend = make_backend("kvm", {});
    if (!backend) {
      GTEST_SKIP() << backend.error().to_string();
    }
    backend_ = *std::move(backend);
    std::string pattern = (fs::temp_directory_path() / "stasis-lost-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    LaunchOptions launch;
    launch.guest = "pagetoucher";
    launch.memory_bytes = std::uint64_t{64} << 20U;
    const auto guest = must(Session::launch(*backend_, launch));
    must(guest->wait_ready(kWait));
    must(guest->save(path("warm"), {}));
  }
  void TearDown() override {
    if (!directory_.empty()) {
      fs::remove_all(directory_);
    }
  }
  std::string path(const std::string& name) const { return directory_ + "/" + name; }

  // A guest that has not run yet, and has no payload any more.
  std::unique_ptr<Session> robbed(const std::string& policy = "lazy") {
    RestoreOptions options;
    options.policy = policy;
    options.start = StartMode::kPaused;
    auto session = must(Session::restore(*backend_, path("warm"), options));
    fs::resize_file(path("warm/memory"), 0);
    return session;
  }

  std::string directory_;
  std::unique_ptr<HypervisorBackend> backend_;
};

TEST_F(LostPayloadOnKvm, TheGuestsOwnTouchFailsAndSaysWhy) {
  const auto session = robbed();
  const auto ended = session->wait_exit(kWait);
  ASSERT_FALSE(ended);
  EXPECT_NE(ended.error().code, Errc::kTimeout);
  EXPECT_THAT(ended.error().message, HasSubstr("cut short"));
}

TEST_F(LostPayloadOnKvm, TheHostsTouchOfTheMailboxFails) {
  const auto session = robbed();
  const auto response = session->request(std::as_bytes(std::span("x", 1)), kWait);
  ASSERT_FALSE(response);
  EXPECT_THAT(response.error().message, HasSubstr("cut short"));
}

TEST_F(LostPayloadOnKvm, ATouchOfAMissingPageIsNeverAnsweredAndSaysWhy) {
  if (!snapshot::probe_missing_pages(backend_->capabilities()).available) {
    GTEST_SKIP() << "userfaultfd is closed to this user";
  }
  const auto session = robbed("uffd");
  const auto ended = session->wait_exit(kWait);
  ASSERT_FALSE(ended);
  EXPECT_NE(ended.error().code, Errc::kTimeout);
  EXPECT_THAT(ended.error().message, HasSubstr("cannot be had"));
  EXPECT_THAT(ended.error().message, HasSubstr("warm/memory"));
}

TEST_F(LostPayloadOnKvm, TheHostsTouchOfAMissingPageFails) {
  if (!snapshot::probe_missing_pages(backend_->capabilities()).available) {
    GTEST_SKIP() << "userfaultfd is closed to this user";
  }
  const auto session = robbed("uffd");
  const auto response = session->request(std::as_bytes(std::span("x", 1)), kWait);
  ASSERT_FALSE(response);
  EXPECT_THAT(response.error().message, HasSubstr("cannot be had"));
}

TEST_F(LostPayloadOnKvm, BytesThatAreNotWhatWasSavedNeverReachTheGuest) {
  if (!snapshot::probe_missing_pages(backend_->capabilities()).available) {
    GTEST_SKIP() << "userfaultfd is closed to this user";
  }
  RestoreOptions options;
  options.policy = "uffd";
  options.start = StartMode::kPaused;
  const auto session = must(Session::restore(*backend_, path("warm"), options));
  const auto size = fs::file_size(path("warm/memory"));
  fs::resize_file(path("warm/memory"), 0);
  fs::resize_file(path("warm/memory"), size);  // Of the right length, and all of it zeros.
  const auto ended = session->wait_exit(kWait);
  ASSERT_FALSE(ended);
  EXPECT_THAT(ended.error().message, HasSubstr("checksum does not match"));
}

TEST_F(LostPayloadOnKvm, ItIsNotSaved) {
  const auto session = robbed();
  for (const SaveKind kind : {SaveKind::kFull, SaveKind::kDiff}) {
    SaveOptions options;
    options.kind = kind;
    EXPECT_FALSE(session->save(path("after"), options));
    EXPECT_FALSE(fs::exists(path("after")));
  }
}

}  // namespace
}  // namespace stasis::session
