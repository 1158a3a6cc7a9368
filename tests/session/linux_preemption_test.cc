// Linux programs whose threads compute without system calls, under the real kernel. Nothing here
// depends on how fast they are: without preemption these programs would not end.
#include <filesystem>

#include <gtest/gtest.h>

#include "tests/session/linux_kit.h"
#include "tests/support/must.h"

namespace stasis::session {
namespace {

namespace fs = std::filesystem;

// They compute: longer than what waits.
constexpr std::chrono::nanoseconds kLongWait = std::chrono::seconds(120);

class LinuxPreemption : public LinuxTest {
 protected:
  std::unique_ptr<Session> launch(const std::vector<std::string>& arguments,
                                  const std::string& program = LINUX_PROGRAMS "preempted") {
    return LinuxTest::launch(program, arguments);
  }
  static std::string ask(Session& session, std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    const Response response = must(session.request(bytes, kLongWait));
    return {reinterpret_cast<const char*>(response.bytes.data()), response.bytes.size()};  // NOLINT
  }
  static std::uint64_t end(Session& session) {
    const std::string_view text = "end";
    static_cast<void>(
        session.request(std::as_bytes(std::span(text)), kLongWait));  // It exits instead.
    return must(session.wait_exit(kLongWait));
  }
};

TEST_F(LinuxPreemption, AThreadThatSpinsOnAFlagLetsTheOtherSetIt) {
  EXPECT_EQ(must(launch({"spin"})->wait_exit(kLongWait)), 0U);
}

TEST_F(LinuxPreemption, RegistersSurviveThousandsOfPreemptions) {
  const auto session = launch({"registers", "3000"});
  EXPECT_EQ(must(session->wait_exit(kLongWait)), 0U) << session->console();
  EXPECT_GE(must(session->counters()).linux_guest->traps.preemptions, 2000U);
}

TEST_F(LinuxPreemption, TimersInterruptAComputation) {
  for (const std::string timer : {"real", "virtual", "prof", "posix", "notify"}) {
    EXPECT_EQ(must(launch({timer})->wait_exit(kLongWait)), 0U) << timer;
  }
}

TEST_F(LinuxPreemption, OpensslSpeedEnds) {
  if (!fs::exists("/usr/bin/openssl")) {
    GTEST_SKIP() << "no openssl";
  }
  const auto session =
      launch({"speed", "-seconds", "1", "-bytes", "1024", "sha256"}, "/usr/bin/openssl");
  EXPECT_EQ(must(session->wait_exit(kLongWait)), 0U) << session->console();
  EXPECT_NE(session->console().find("sha256's in"), std::string::npos) << session->console();
}

// The interpreter hands its lock over only when the other thread, whose wait has an end, asks for
// it.
TEST_F(LinuxPreemption, ThreadsOfPythonThatComputeTakeTurns) {
  const auto session =
      launch({"-c",
              "import threading\n"
              "sums = []\n"
              "thread = threading.Thread(target=lambda: sums.append(sum(range(1000))))\n"
              "thread.start()\n"
              "while not sums: pass\n"
              "print(sums)\n"},
             "/usr/bin/python3");
  EXPECT_EQ(must(session->wait_exit(kLongWait)), 0U) << session->console();
  EXPECT_EQ(session->console(), "[499500]\n");
}

TEST_F(LinuxPreemption, OneThreadThatComputesIsNeverInterrupted) {
  const auto session = launch({"compute"});
  EXPECT_EQ(must(session->wait_exit(kLongWait)), 0U);
  const SessionCounters counters = must(session->counters());
  EXPECT_EQ(counters.linux_guest->traps.preemptions, 0U);
  EXPECT_EQ(counters.machine.interrupts, 0U);
}

TEST_F(LinuxPreemption, ARequestReachesAThreadWhileOthersCompute) {
  const auto session = launch({"serve"});
  must(session->wait_ready(kLongWait));
  EXPECT_EQ(ask(*session, "a"), "3 advanced");
  EXPECT_EQ(ask(*session, "b"), "3 advanced");
  EXPECT_EQ(end(*session), 0U);
}

TEST_F(LinuxPreemption, PreemptedThreadsGoOnAfterARestoreUnderEveryPolicy) {
  const auto session = launch({"serve"});
  must(session->wait_ready(kLongWait));
  must(session->save(path("ready"), {}));
  EXPECT_EQ(ask(*session, "a"), "3 advanced");
  must(session->save(path("running"), {}));  // Wherever they are.
  for (const std::string name : {"ready", "running"}) {
    for (const std::string policy : {"lazy", "eager"}) {
      const auto restored = restore(name, {.policy = policy});
      EXPECT_EQ(ask(*restored, "b"), "3 advanced") << name << ' ' << policy;
      EXPECT_EQ(ask(*restored, "c"), "3 advanced") << name << ' ' << policy;
      EXPECT_EQ(end(*restored), 0U) << name << ' ' << policy;
    }
  }
  EXPECT_EQ(end(*session), 0U) << "the one that was saved";
}

TEST_F(LinuxPreemption, SavesInTheMiddleOfAComputationDoNotChangeItsResult) {
  const std::vector<std::string> work = {"sum", "60000000"};
  const auto whole = launch(work);
  EXPECT_EQ(must(whole->wait_exit(kLongWait)), 0U);
  ASSERT_EQ(whole->console().substr(0, 4), "sum ");
  // The same as a chain of restores, each saved some way into the computation.
  auto session = launch(work);
  for (int i = 0; i < 4; ++i) {
    if (session->wait_exit(std::chrono::milliseconds(20))) {
      break;  // It was faster.
    }
    const std::string name = "middle" + std::to_string(i);
    must(session->save(path(name), {}));
    session = restore(name, {.policy = i % 2 == 0 ? "eager" : "lazy"});
  }
  EXPECT_EQ(must(session->wait_exit(kLongWait)), 0U);
  EXPECT_EQ(session->console(), whole->console());
}

}  // namespace
}  // namespace stasis::session
