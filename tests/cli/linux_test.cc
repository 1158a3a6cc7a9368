// Linux programs under the program `stasis`: their exit codes and their bytes are their own.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cli/program.h"

namespace stasis::cli::test {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class LinuxProgram : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!why_no_kvm().empty()) {
      GTEST_SKIP() << why_no_kvm();
    }
  }
  Outcome stasis(const std::vector<std::string>& arguments, const RunSettings& settings = {}) {
    RunSettings in_directory = settings;
    in_directory.directory = directory_.path();
    return run(arguments, in_directory);
  }
  static std::vector<std::string> shell(std::vector<std::string> command,
                                        const std::string& script) {
    // Quiet: what takes long on a loaded host is not to show.
    command.insert(command.end(), {"--quiet", "--memory", "256M", "--allow-read", "/usr", "--",
                                   "/bin/sh", "-c", script});
    return command;
  }
  // A shell that answers each request, warm.
  void save_warm(const std::string& name, const std::string& then = ":") {
    const Outcome saved = stasis(shell(
        {"run", "--save", name},
        "while read x < /dev/stasis; do echo \"you said $x\" > /dev/stasis; " + then + "; done"));
    ASSERT_EQ(saved.exit_code, 0) << saved.err;
  }

  TemporaryDirectory directory_;
};

TEST_F(LinuxProgram, TheExitCodeOfALinuxProgramIsItsOwn) {
  for (const int code : {0, 1, 7, 255}) {
    const Outcome outcome = stasis({"run", "--allow-read", "/usr", "--json", "--", "/bin/sh", "-c",
                                    "exit " + std::to_string(code)});
    EXPECT_EQ(outcome.exit_code, code) << outcome.err;
    EXPECT_EQ(outcome.json().at("exit_code"), code);
    EXPECT_FALSE(outcome.json().contains("signal"));
  }
}

TEST_F(LinuxProgram, ALinuxProgramThatASignalKillsEndsWith128AndTheSignal) {
  const std::vector<std::string> arguments = {"run",     "--allow-read", "/usr",         "--",
                                              "/bin/sh", "-c",           "kill -SEGV $$"};
  const Outcome outcome = stasis(arguments);
  EXPECT_EQ(outcome.exit_code, 128 + 11);
  EXPECT_FALSE(outcome.signaled);
  EXPECT_THAT(outcome.err, HasSubstr("killed by SIGSEGV"));
  std::vector<std::string> with_json = arguments;
  with_json.insert(with_json.begin() + 1, "--json");
  const nlohmann::json json = stasis(with_json).json();
  EXPECT_EQ(json.at("signal"), 11);
  EXPECT_EQ(json.at("error").at("code"), "guest_fault");
  EXPECT_TRUE(json.at("exit_code").is_null());
}

TEST_F(LinuxProgram, ALinuxProgramThatCannotBeStartedIsAnErrorOfTheCommand) {
  const Outcome outcome = stasis({"run", "--allow-read", "/usr", "--", "/nonexistent/program"});
  EXPECT_EQ(outcome.exit_code, 5) << outcome.err;
  EXPECT_THAT(outcome.err, StartsWith("stasis: error: "));
}

TEST_F(LinuxProgram, ARestoredProgramEndsWithItsOwnCodeToo) {
  for (const int code : {0, 3, 255}) {
    const std::string name = "exits" + std::to_string(code);
    save_warm(name, "exit " + std::to_string(code));
    Outcome outcome = stasis({"restore", name, "--quiet", "--request", "x", "--until", "exit"});
    EXPECT_EQ(outcome.exit_code, code) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    outcome = stasis({"restore", name, "--request", "x", "--until", "exit", "--json"});
    EXPECT_EQ(outcome.exit_code, code);
    EXPECT_EQ(outcome.json().at("exit_code"), code);
    EXPECT_FALSE(outcome.json().contains("signal"));
  }
}

TEST_F(LinuxProgram, ARestoredProgramThatASignalKillsEndsWith128AndTheSignal) {
  save_warm("dies", "kill -USR1 $$");
  const std::vector<std::string> arguments = {"restore", "dies",    "--request",
                                              "x",       "--until", "exit"};
  Outcome outcome = stasis(arguments);
  EXPECT_EQ(outcome.exit_code, 128 + 10);
  EXPECT_FALSE(outcome.signaled);
  EXPECT_THAT(outcome.err, StartsWith("stasis: error: "));
  std::vector<std::string> with_json = arguments;
  with_json.emplace_back("--json");
  outcome = stasis(with_json);
  EXPECT_EQ(outcome.exit_code, 128 + 10);
  EXPECT_EQ(outcome.json().at("signal"), 10);
  EXPECT_EQ(outcome.json().at("error").at("code"), "guest_fault");
}

TEST_F(LinuxProgram, AnErrorOfARestoreKeepsItsOwnCode) {
  EXPECT_EQ(stasis({"restore", "nothing", "--until", "exit"}).exit_code, 5);
  save_warm("waits");
  // Nobody asks it, so it never ends.
  EXPECT_EQ(stasis({"restore", "waits", "--until", "exit", "--timeout", "200ms"}).exit_code, 7);
}

TEST_F(LinuxProgram, ItsBytesComeOutUnchangedWhereNoTerminalReadsThem) {
  // Every byte there is, on both streams, with nothing at the end.
  std::string all;
  std::string script = "printf '";
  for (int i = 0; i < 256; ++i) {
    all += static_cast<char>(i);
    script += "\\" + std::string(1, static_cast<char>('0' + i / 64)) +
              static_cast<char>('0' + i / 8 % 8) + static_cast<char>('0' + i % 8);
  }
  script += "'";
  const Outcome outcome = stasis(shell({"run"}, script + "; " + script + " >&2"));
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.out, all);
  EXPECT_EQ(outcome.err, all);
  // Nothing is added when it fails, either: the exit code says so.
  const Outcome failed = stasis(shell({"run"}, script + "; exit 9"));
  EXPECT_EQ(failed.exit_code, 9);
  EXPECT_EQ(failed.out, all);
  const std::string path = directory_ / "file";
  write_file(path, "");
  EXPECT_EQ(stasis(shell({"run"}, script), {.stdout_path = path}).exit_code, 0);
  EXPECT_EQ(read_file(path), all);
}

TEST_F(LinuxProgram, AnAnswerComesOutUnchangedToo) {
  const Outcome saved =
      stasis(shell({"run", "--save", "warm"},
                   "read x < /dev/stasis; printf 'a\\001\\377\\033[2J' > /dev/stasis"));
  ASSERT_EQ(saved.exit_code, 0) << saved.err;
  EXPECT_EQ(stasis({"invoke", "warm", "--request", "x"}).out, "a\x01\xff\x1b[2J");
}

TEST_F(LinuxProgram, ItsAnswerCountsAlthoughItEndsWithIt) {
  const Outcome saved = stasis(
      shell({"run", "--save", "warm"}, "exec 3<>/dev/stasis; read x <&3; printf \"hello $x\" >&3"));
  ASSERT_EQ(saved.exit_code, 0) << saved.err;
  const Outcome outcome = stasis({"invoke", "warm", "--request", "you"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "hello you");
}

TEST_F(LinuxProgram, CannotSteerATerminal) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  ASSERT_GE(terminal, 0);
  ASSERT_EQ(grantpt(terminal), 0);
  ASSERT_EQ(unlockpt(terminal), 0);
  const std::string path = ptsname(terminal);  // NOLINT(concurrency-mt-unsafe)
  const Outcome outcome = stasis(shell({"run"}, "printf 'a\\033[2Jb'"), {.stdout_path = path});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  std::string shown(256, '\0');
  shown.resize(
      static_cast<std::size_t>(std::max<ssize_t>(read(terminal, shown.data(), shown.size()), 0)));
  EXPECT_EQ(shown, "a\\x1b[2Jb");
  close(terminal);
}

// All are restored and answered before the first is allowed to end.
TEST_F(LinuxProgram, SixteenProcessesOfOneSnapshotAreOpenAtTheSameMoment) {
  constexpr std::size_t kProcesses = 16;
  save_warm("warm", "echo \"answered $x\"");
  std::vector<std::unique_ptr<Process>> processes;
  for (std::size_t i = 0; i < kProcesses; ++i) {
    processes.push_back(std::make_unique<Process>(
        std::vector<std::string>{"restore", "warm", "--request", "r" + std::to_string(i), "--until",
                                 "exit", "--timeout", "1h"},
        RunSettings{.directory = directory_.path()}));
  }
  for (std::size_t i = 0; i < kProcesses; ++i) {
    EXPECT_TRUE(processes[i]->wait_for_output("answered r" + std::to_string(i) + "\n")) << i;
  }
  for (const auto& process : processes) {
    EXPECT_TRUE(process->is_running());
    process->kill(SIGTERM);
  }
  for (const auto& process : processes) {
    EXPECT_EQ(process->wait().exit_code, 130);
  }
}

}  // namespace
}  // namespace stasis::cli::test
