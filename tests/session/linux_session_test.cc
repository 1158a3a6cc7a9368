// Sessions with Linux programs, under the real kernel: saved warm, restored, asked.
#include <barrier>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/session/linux_kit.h"
#include "tests/support/must.h"

namespace stasis::session {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class LinuxSession : public LinuxTest {};

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
  EXPECT_GE(policies().size(), 3U);
  for (const std::string& policy : policies()) {
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

// Every VM is there before the first is asked, and still there when the last has answered.
TEST_F(LinuxSession, SixteenVmsOfOneSnapshotAnswerAtTheSameMoment) {
  constexpr std::size_t kVms = 16;
  save_warm("warm");
  for (const std::string& policy : policies()) {
    SCOPED_TRACE(policy);
    std::barrier<> all_there(kVms);
    std::vector<std::string> answers(kVms);
    std::vector<std::thread> owners;
    for (std::size_t i = 0; i < kVms; ++i) {
      owners.emplace_back([&, i] {
        auto session = restore("warm", {.policy = policy});
        all_there.arrive_and_wait();
        answers[i] = ask(*session, "vm " + std::to_string(i));
        all_there.arrive_and_wait();
      });
    }
    for (std::thread& owner : owners) {
      owner.join();
    }
    for (std::size_t i = 0; i < kVms; ++i) {
      const std::string request = "vm " + std::to_string(i);
      EXPECT_EQ(answers[i], "1 " + std::to_string(request.size() + 1) + " " + request);
    }
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
