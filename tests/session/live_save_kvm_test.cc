// Live saves of guests under KVM that check themselves: neither the guest that is saved in the
// middle of its work nor the one that is restored from that notices anything.
#include <stdlib.h>

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "session/backends.h"
#include "session/session.h"

namespace stasis::session {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::nanoseconds kWait = std::chrono::minutes(2);

#define ASSERT_OK(expression)                                      \
  do {                                                             \
    const auto& result = (expression);                             \
    ASSERT_TRUE(result.has_value()) << result.error().to_string(); \
  } while (false)

struct Case {
  std::string mechanism;
  std::uint32_t vcpus = 1;
};

void PrintTo(const Case& tested, std::ostream* out) {
  *out << tested.mechanism << ", " << tested.vcpus << " vCPUs";
}

class LiveSaveOnKvm : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    auto backend = make_backend("kvm", {});
    if (!backend) {
      GTEST_SKIP() << backend.error().to_string();
    }
    backend_ = *std::move(backend);
    std::string pattern = (fs::temp_directory_path() / "stasis-live-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { fs::remove_all(directory_); }
  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  SaveOptions live() const {
    SaveOptions options;
    options.sync = false;
    options.live = snapshot::LiveOptions{.mechanism = GetParam().mechanism};
    return options;
  }

  // Past all checkpoints, at which it waits.
  static std::uint64_t run_to_the_end(Session& session) {
    const auto code = session.wait_exit(kWait);
    EXPECT_TRUE(code) << code.error().to_string() << session.console();
    return code ? *code : UINT64_MAX;
  }

  std::string directory_;
  std::unique_ptr<HypervisorBackend> backend_;
};

INSTANTIATE_TEST_SUITE_P(OnKvm, LiveSaveOnKvm,
                         ::testing::Values(Case{"userfaultfd", 1}, Case{"userfaultfd", 4},
                                           Case{"fork", 2}),
                         [](const auto& test) {
                           return test.param.mechanism + std::to_string(test.param.vcpus);
                         });

TEST_P(LiveSaveOnKvm, AGuestThatChecksItselfNoticesNothing) {
  LaunchOptions options;
  options.guest = "torture";
  options.arguments = {"checkpoints=4", "memory=8"};
  options.memory_bytes = std::uint64_t{64} << 20U;
  options.vcpus = GetParam().vcpus;
  auto session = Session::launch(*backend_, options);
  ASSERT_OK(session);
  ASSERT_OK((*session)->wait_ready(kWait));
  int saves = 0;
  for (std::uint64_t round = 1; round <= 3; ++round) {
    // In the middle of a round, wherever its vCPUs are.
    ASSERT_OK((*session)->resume());
    const auto begun = (*session)->begin_live_save(path(std::to_string(saves)), live());
    if (!begun && begun.error().code == Errc::kNotSupported) {
      GTEST_SKIP() << begun.error().to_string();
    }
    ASSERT_OK(begun);
    EXPECT_EQ(*(*session)->wait_checkpoint(kWait), round);
    ASSERT_OK((*session)->finish_live_save());
    ++saves;
  }
  EXPECT_EQ(run_to_the_end(**session), 0U);
  session->reset();
  for (int i = 0; i < saves; ++i) {
    for (const char* const policy : {"lazy", "eager"}) {
      RestoreOptions restore;
      restore.policy = policy;
      auto restored = Session::restore(*backend_, path(std::to_string(i)), restore);
      ASSERT_OK(restored);
      EXPECT_EQ(run_to_the_end(**restored), 0U) << "snapshot " << i << ", " << policy;
    }
  }
}

// A lazily restored guest's memory is a file's: userfaultfd cannot protect it, a fork can copy it.
TEST_P(LiveSaveOnKvm, ALazilyRestoredGuestCanBeSavedByAForkAlone) {
  LaunchOptions options;
  options.guest = "torture";
  options.arguments = {"checkpoints=3", "memory=8"};
  options.memory_bytes = std::uint64_t{64} << 20U;
  options.vcpus = GetParam().vcpus;
  auto session = Session::launch(*backend_, options);
  ASSERT_OK(session);
  ASSERT_OK((*session)->wait_ready(kWait));
  SaveOptions still;
  still.sync = false;
  ASSERT_OK((*session)->save(path("still"), still));
  session->reset();
  auto restored = Session::restore(*backend_, path("still"), {});
  ASSERT_OK(restored);
  SaveOptions wanted = live();
  const auto saved = (*restored)->save(path("live"), wanted);
  if (GetParam().mechanism == "userfaultfd") {
    if (!saved) {  // On a tmpfs the file is shared memory, which it can protect.
      EXPECT_EQ(saved.error().code, Errc::kNotSupported);
      EXPECT_THAT(saved.error().message, ::testing::HasSubstr("--live-by fork"));
      EXPECT_FALSE(fs::exists(path("live")));
      wanted.live->mechanism = "auto";
      const auto chosen = (*restored)->save(path("live"), wanted);
      ASSERT_OK(chosen);
      EXPECT_EQ(chosen->live->mechanism, "fork");
    }
  } else {
    ASSERT_OK(saved);
  }
  EXPECT_EQ(run_to_the_end(**restored), 0U);
  restored->reset();
  auto again = Session::restore(*backend_, path("live"), {});
  ASSERT_OK(again);
  EXPECT_EQ(run_to_the_end(**again), 0U);
}

}  // namespace
}  // namespace stasis::session
