// Sessions with Linux programs, under the real kernel: saved warm, restored, asked.
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "session/backends.h"
#include "session/session.h"
#include "snapshot/policies/policy_catalog.h"
#include "tests/support/must.h"

namespace stasis::session {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr std::chrono::nanoseconds kWait = std::chrono::seconds(20);

class LinuxSession : public testing::Test {
 protected:
  void SetUp() override {
    auto backend = make_backend("kvm", {});
    if (!backend) {
      GTEST_SKIP() << backend.error().to_string();
    }
    backend_ = *std::move(backend);
    std::string pattern = (fs::temp_directory_path() / "stasis-linux-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override {
    if (!directory_.empty()) {
      fs::remove_all(directory_);
    }
  }
  std::string path(const std::string& name) const { return directory_ + "/" + name; }

  std::unique_ptr<Session> launch(const std::string& program,
                                  const std::vector<std::string>& arguments = {}) {
    LaunchOptions options;
    options.linux_program = LinuxOptions{.program = program, .allow_read = {"/usr"}};
    options.arguments = arguments;
    options.memory_bytes = std::uint64_t{256} << 20U;
    return must(Session::launch(*backend_, options));
  }
  // The echo function, warm, saved as `name`.
  void save_warm(const std::string& name) {
    auto session = launch(LINUX_PROGRAMS "echo_function");
    must(session->wait_ready(kWait));
    must(session->save(path(name), {}));
  }
  std::unique_ptr<Session> restore(const std::string& name, const RestoreOptions& options = {}) {
    return must(Session::restore(*backend_, path(name), options));
  }
  static std::string ask(Session& session, std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    const Response response = must(session.request(bytes, kWait));
    return {reinterpret_cast<const char*>(response.bytes.data()), response.bytes.size()};  // NOLINT
  }

  std::string directory_;
  std::unique_ptr<HypervisorBackend> backend_;
};

TEST_F(LinuxSession, AProgramRunsToItsExitCodeAndItsOutputIsTheConsole) {
  // It executes a program, which is not supported: env(1) says so with this code.
  auto session = launch("/usr/bin/env", {"echo", "hello"});
  EXPECT_EQ(must(session->wait_exit(kWait)), 126U);
  auto echo = launch("/bin/echo", {"hello", "there"});
  EXPECT_EQ(must(echo->wait_exit(kWait)), 0U);
  EXPECT_EQ(echo->console(), "hello there\n");
}

TEST_F(LinuxSession, AWarmFunctionAnswersBeforeASaveAndAfterARestoreUnderEveryPolicy) {
  save_warm("warm");
  for (const std::string policy : {"lazy", "eager"}) {
    auto session = restore("warm", {.policy = policy});
    EXPECT_EQ(ask(*session, "a"), "1 2 a") << policy;
    EXPECT_EQ(ask(*session, "bcd"), "2 6 bcd") << policy;
    must(session->settle(std::chrono::seconds(1)));
    EXPECT_TRUE(session->milestones().at(Milestone::kFirstInstruction)) << policy;
    EXPECT_TRUE(session->milestones().at(Milestone::kFirstResponse)) << policy;
  }
}

TEST_F(LinuxSession, AChainOfDifferentialsGoesOn) {
  save_warm("base");
  std::string parent = "base";
  for (int i = 1; i <= 3; ++i) {
    auto session = restore(parent, {.tracker = i == 2 ? "" : "dirty-log"});
    EXPECT_THAT(ask(*session, "x"), HasSubstr(std::to_string(i) + " "));
    const std::string child = "diff" + std::to_string(i);
    const SaveReport report = must(session->save(path(child), {.kind = SaveKind::kDiff}));
    EXPECT_LT(report.dirty_bytes, report.memory_bytes / 8);
    parent = child;
  }
  auto session = restore(parent);
  EXPECT_EQ(ask(*session, "end"), "4 10 end");
}

TEST_F(LinuxSession, ClonesShareWhatWasDrawnAndDrawTheirOwn) {
  save_warm("warm");
  std::set<std::string> before, after;
  for (int i = 0; i < 3; ++i) {
    const std::string answer = ask(*restore("warm"), "random");
    before.insert(answer.substr(0, answer.find(' ')));
    after.insert(answer.substr(answer.find(' ')));
  }
  EXPECT_EQ(before.size(), 1U);
  EXPECT_EQ(after.size(), 3U);
}

TEST_F(LinuxSession, ManyRestoresInARowAndAtOnceLeaveNothing) {
  save_warm("warm");
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(ask(*restore("warm"), "x"), "1 2 x") << i;
  }
  std::vector<std::unique_ptr<Session>> together;
  for (int i = 0; i < 16; ++i) {
    together.push_back(restore("warm"));
  }
  for (auto& session : together) {
    EXPECT_EQ(ask(*session, "x"), "1 2 x");
  }
}

TEST_F(LinuxSession, AProgramThatChangedSinceTheSaveIsNamed) {
  const std::string program = path("function");
  fs::copy_file(LINUX_PROGRAMS "echo_function", program);
  auto session = launch(program);
  must(session->wait_ready(kWait));
  must(session->save(path("warm"), {}));
  std::ofstream(program, std::ios::app) << "x";
  const auto refused = Session::restore(*backend_, path("warm"), {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kMismatch);
  EXPECT_THAT(refused.error().message, HasSubstr(fs::canonical(program).string()));
  auto forced = restore("warm", {.stale_files = StaleFiles::kAccept});
  EXPECT_EQ(ask(*forced, "x"), "1 2 x");
}

TEST_F(LinuxSession, AFunctionThatExitsInsteadOfAnsweringSaysSo) {
  save_warm("warm");
  auto session = restore("warm");
  const std::string_view text = "exit";
  const auto outcome = session->request(std::as_bytes(std::span(text)), kWait);
  ASSERT_FALSE(outcome);
  EXPECT_THAT(outcome.error().message, HasSubstr("exited with code 5"));
}

TEST_F(LinuxSession, AFunctionThatHangsTimesOut) {
  auto session = launch("/bin/sh", {"-c", "read x < /dev/stasis; while :; do :; done"});
  must(session->wait_ready(kWait));
  const std::string_view text = "go\n";
  const auto outcome =
      session->request(std::as_bytes(std::span(text)), std::chrono::milliseconds(200));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::kTimeout);
}

TEST_F(LinuxSession, AWarmPythonAnswers) {
  const std::string program =
      "import json\n"
      "while True:\n"
      "  with open('/dev/stasis') as f: n = json.loads(f.read())['n']\n"
      "  with open('/dev/stasis', 'w') as f: f.write(json.dumps({'square': n * n}))\n";
  if (!fs::exists("/usr/bin/python3")) {
    GTEST_SKIP() << "no python3";
  }
  auto session = launch("/usr/bin/python3", {"-c", program});
  must(session->wait_ready(kWait));
  must(session->save(path("python"), {}));
  EXPECT_EQ(ask(*restore("python"), R"({"n": 7})"), R"({"square": 49})");
}

TEST_F(LinuxSession, ASharedFileOfTheTmpfsIsOneFromAllSidesAlsoOverRestores) {
  auto session = launch(LINUX_PROGRAMS "shared");
  must(session->wait_ready(kWait));
  EXPECT_EQ(ask(*session, "a"), "ok 1");
  EXPECT_EQ(ask(*session, "b"), "ok 2");
  for (int i = 0; i < 3; ++i) {
    const std::string name = "shared" + std::to_string(i);
    must(session->save(path(name), {}));
    session = restore(name, {.policy = i == 1 ? "eager" : "lazy"});
    EXPECT_EQ(ask(*session, "c"), "ok " + std::to_string(3 + 2 * i));
    EXPECT_EQ(ask(*session, "d"), "ok " + std::to_string(4 + 2 * i));
  }
}

std::uint64_t calls_of(Session& session, std::string_view name) {
  const SessionCounters counters = must(session.counters());
  for (const auto& call : counters.linux_guest->calls) {
    if (call.name == name) {
      return call.calls;
    }
  }
  return 0;
}

std::int64_t monotonic_in(const std::string& answer) {
  return std::stoll(answer.substr(answer.rfind(' ') + 1));
}

TEST_F(LinuxSession, ClocksReadInTheGuestAndByTheHostAgreeAlsoOverRestores) {
  auto session = launch(LINUX_PROGRAMS "clocks");
  must(session->wait_ready(kWait));
  std::string answer = ask(*session, "a");
  EXPECT_THAT(answer, HasSubstr("ok ")) << answer;
  for (int i = 0; i < 3; ++i) {
    must(session->save(path("clocks" + std::to_string(i)), {}));
    const std::int64_t before = monotonic_in(answer);
    session = restore("clocks" + std::to_string(i), {.policy = i == 1 ? "eager" : "lazy"});
    answer = ask(*session, "b");
    EXPECT_THAT(answer, HasSubstr("ok ")) << answer;
    EXPECT_GT(monotonic_in(answer), before) << "it goes on from where it was";
  }
}

TEST_F(LinuxSession, TheVdsoSparesTheSystemCalls) {
  auto session = launch(LINUX_PROGRAMS "clocks");
  must(session->wait_ready(kWait));
  must(session->save(path("warm"), {}));
  session = restore("warm");
  const std::string answer = ask(*session, "a");
  ASSERT_THAT(answer, HasSubstr("ok ")) << answer;
  // Those that the program asked for itself, and those of the one clock that only the kernel knows.
  constexpr std::uint64_t kAsked = 7 * 20, kProcessorTime = 180, kNoSuchClock = 1;
  const std::uint64_t made = calls_of(*session, "clock_gettime");
  EXPECT_EQ(calls_of(*session, "getcpu"), 0U);
  std::string source;
  std::ifstream("/sys/devices/system/clocksource/clocksource0/current_clocksource") >> source;
  if (source != "tsc") {
    EXPECT_GT(made, 1000U)
        << "where the host does not trust its counter, the guest must not either";
    return;
  }
  EXPECT_EQ(made, kAsked + kProcessorTime + kNoSuchClock);
  EXPECT_EQ(calls_of(*session, "gettimeofday"), 1U);
  EXPECT_EQ(calls_of(*session, "time"), 0U);
}

}  // namespace
}  // namespace stasis::session
