// Signals: Ctrl-C cleans up, and no kind of death loses a snapshot that was there.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "session/backends.h"
#include "session/session.h"
#include "tests/cli/program.h"
#include "tests/support/must.h"

namespace stasis::cli::test {
namespace {

using ::testing::HasSubstr;

// Whether the process has a handler for `signal`: proc(5), SigCgt, whose lowest bit is signal 1.
bool catches(pid_t pid, int signal) {
  std::istringstream status(read_file("/proc/" + std::to_string(pid) + "/status"));
  std::string word;
  while (status >> word && word != "SigCgt:") {
  }
  std::uint64_t caught = 0;
  status >> std::hex >> caught;
  return ((caught >> static_cast<unsigned>(signal - 1)) & 1U) != 0;
}

// Past execve(); before, it is a copy of this process.
bool is_program(const Process& process) {
  return read_file("/proc/" + std::to_string(process.pid()) + "/comm") == "stasis\n";
}

// A signal that comes earlier ends the process as it would any other.
void wait_for_handler(Process& process, int signal) {
  while (process.is_running() && !(is_program(process) && catches(process.pid(), signal))) {
    usleep(500);
  }
}

class Interrupt : public ::testing::Test {
 protected:
  Outcome stasis(const std::vector<std::string>& arguments) {
    return run(arguments, {.directory = directory_.path()});
  }
  std::vector<std::string> save_command(const std::string& name) {
    return {"run",    "toy:busy", "--backend", "mock", "--memory", "64M",    "--request", "one",
            "--save", name,       "--chunk",   "4K",   "--layout", "packed", "--force"};
  }

  TemporaryDirectory directory_;
};

TEST_F(Interrupt, CtrlCWhileWaitingEndsWith130) {
  for (const int signal : {SIGINT, SIGTERM}) {
    Process process({"run", "toy:spin", "--backend", "mock", "--timeout", "1h"},
                    {.directory = directory_.path()});
    wait_for_handler(process, signal);
    process.kill(signal);
    const Outcome outcome = process.wait();
    EXPECT_FALSE(outcome.signaled);
    EXPECT_EQ(outcome.exit_code, 130);
    EXPECT_THAT(outcome.err, HasSubstr("interrupted"));
  }
}

TEST_F(Interrupt, CtrlCIsReportedAsJsonToo) {
  Process process({"run", "toy:spin", "--backend", "mock", "--timeout", "1h", "--json"},
                  {.directory = directory_.path()});
  wait_for_handler(process, SIGINT);
  process.kill(SIGINT);
  const Outcome outcome = process.wait();
  EXPECT_EQ(outcome.exit_code, 130);
  EXPECT_EQ(outcome.json().at("error").at("code"), "interrupted");
}

// At every moment of a run, a save included: the directory holds nothing, or a whole snapshot.
TEST_F(Interrupt, CtrlCAtAnyMomentLeavesASnapshotWhollyOrNotAtAll) {
  for (int delay_ms = 0; delay_ms < 200; delay_ms += 10) {
    Process process(save_command("warm"), {.directory = directory_.path()});
    usleep(static_cast<useconds_t>(delay_ms) * 1000);
    process.kill(SIGINT);
    const Outcome outcome = process.wait();
    if (outcome.signaled) {
      continue;  // Before main(): the default action, nothing was begun.
    }
    EXPECT_TRUE(outcome.exit_code == 130 || outcome.exit_code == 0) << outcome.err;
    const auto names = list(directory_.path());
    if (!names.empty()) {
      EXPECT_EQ(names, std::vector<std::string>{"warm"}) << delay_ms;
      EXPECT_EQ(stasis({"verify", "warm"}).exit_code, 0);
    }
  }
}

TEST_F(Interrupt, KillAtAnyMomentOfASaveKeepsTheOldSnapshot) {
  ASSERT_EQ(stasis(save_command("warm")).exit_code, 0);
  int killed = 0;
  for (int delay_ms = 5; delay_ms < 150; delay_ms += 6) {
    Process process(save_command("warm"), {.directory = directory_.path()});
    usleep(static_cast<useconds_t>(delay_ms) * 1000);
    process.kill(SIGKILL);
    killed += process.wait().signaled ? 1 : 0;
    const Outcome outcome = stasis(
        {"restore", "warm", "--backend", "mock", "--policy", "eager", "--request", "x", "--json"});
    ASSERT_EQ(outcome.exit_code, 0) << delay_ms << outcome.out;
    EXPECT_EQ(outcome.json().at("trials").at(0).at("requests").at(0).at("response"),
              "count=00000002");
  }
  EXPECT_GT(killed, 0);
  // What the dead left behind goes with the next save.
  ASSERT_EQ(stasis(save_command("warm")).exit_code, 0);
  EXPECT_EQ(list(directory_.path()), std::vector<std::string>{"warm"});
  EXPECT_EQ(stasis({"verify", "warm"}).exit_code, 0);
}

// Memory that takes long to restore: none of it zero, in small compressed chunks.
void save_slow_snapshot(const std::string& path) {
  const auto backend = must(session::make_backend("mock"));
  session::LaunchOptions launch;
  launch.guest = "toy:counter";
  const auto guest = must(session::Session::launch(*backend, launch));
  must(guest->wait_ready(std::chrono::seconds(20)));
  GuestMemory& memory = guest->machine().memory();
  constexpr std::uint64_t kToyBytes = std::uint64_t{8} << 20U;  // Where the toy and its data lie.
  const auto rest = must(memory.writable_view({Gpa{kToyBytes}, memory.size_bytes() - kToyBytes}));
  std::memset(rest.data(), 0x5A, rest.size());
  session::SaveOptions save;
  save.layout = snapshot::Layout::kPacked;
  save.codec = snapshot::Codec::kLz4;
  save.chunk_bytes = 4096;
  save.sync = false;
  must(guest->save(path, save));
}

// Without what is mapped from files: a program with sanitizers has much of that before main().
std::uint64_t resident_anonymous_bytes(pid_t pid) {
  std::istringstream statm(read_file("/proc/" + std::to_string(pid) + "/statm"));
  std::uint64_t total = 0;
  std::uint64_t resident = 0;
  std::uint64_t of_files = 0;
  statm >> total >> resident >> of_files;
  // The kernel does not read both at one moment: a young process may seem to have more of files.
  return (resident - std::min(resident, of_files)) *
         static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

TEST_F(Interrupt, CtrlCDuringALongFillEndsItThere) {
  save_slow_snapshot(directory_ / "slow");
  bool stopped_within = false;
  // On a busy machine the signal may come when the memory is full already: then once more.
  for (int attempt = 0; attempt < 20 && !stopped_within; ++attempt) {
    Process process({"restore", "slow", "--backend", "mock", "--policy", "eager", "--repeat",
                     "1000000", "--json"},
                    {.directory = directory_.path()});
    constexpr std::uint64_t kWellWithin = std::uint64_t{64} << 20U;
    wait_for_handler(process, SIGINT);
    const std::uint64_t before = resident_anonymous_bytes(process.pid());
    while (process.is_running() && resident_anonymous_bytes(process.pid()) < before + kWellWithin) {
    }
    process.kill(SIGINT);
    const Outcome outcome = process.wait();
    EXPECT_FALSE(outcome.signaled);
    EXPECT_EQ(outcome.exit_code, 130) << outcome.err;
    EXPECT_EQ(outcome.json().at("error").at("code"), "interrupted");
    EXPECT_EQ(list(directory_.path()), std::vector<std::string>{"slow"});
    // A restore that was not cut short would be in the list of trials.
    stopped_within = outcome.json().at("trials").empty();
  }
  EXPECT_TRUE(stopped_within);
}

TEST_F(Interrupt, RestoresStopBetweenRepeats) {
  ASSERT_EQ(stasis(save_command("warm")).exit_code, 0);
  Process process({"restore", "warm", "--backend", "mock", "--repeat", "1000000"},
                  {.directory = directory_.path()});
  wait_for_handler(process, SIGINT);
  process.kill(SIGINT);
  EXPECT_EQ(process.wait().exit_code, 130);
}

}  // namespace
}  // namespace stasis::cli::test
