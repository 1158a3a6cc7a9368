// `stasis run linux`: an arm64 kernel as the guest. What cannot be run needs a clear error and
// leaves no process behind; what can be run needs the files of scripts/fetch-linux-arm64.
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "session/backends.h"
#include "tests/cli/program.h"

namespace stasis::cli::test {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// Empty if it cannot be read: processes come and go.
std::string read_if_there(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Processes of QEMU that `stasis` started in `directory`, by what they hold open.
std::size_t qemus_of_this_test(const std::string& marker) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string environment = read_if_there(entry.path() / "environ");
    const std::string command = read_if_there(entry.path() / "comm");
    if (environment.find(marker) != std::string::npos && command.find("qemu") == 0) {
      ++count;
    }
  }
  return count;
}

class Arm64LinuxErrors : public ::testing::Test {
 protected:
  Outcome stasis(std::vector<std::string> arguments, const std::string& path = {}) {
    RunSettings settings{.directory = directory_.path()};
    settings.environment["STASIS_LINUX_ARM64"] = directory_.path();
    settings.environment["STASIS_TEST"] = directory_.path();
    if (!path.empty()) {
      settings.environment["PATH"] = path;
    }
    Outcome outcome = run(arguments, settings);
    EXPECT_EQ(qemus_of_this_test("STASIS_TEST=" + directory_.path()), 0U) << "an orphan";
    return outcome;
  }
  // A kernel's file with a right header and nothing that could run.
  std::string kernel(std::uint8_t flags = 0xa, const std::string& magic = "ARM\x64") {
    std::string file(65536, '\0');
    file[18] = 1;  // image_size: 64 KiB.
    file[24] = static_cast<char>(flags);
    file.replace(56, magic.size(), magic);
    const std::string path = directory_ / "kernel";
    write_file(path, file);
    return path;
  }
  std::string initrd(std::size_t bytes = 6) {
    const std::string path = directory_ / "initrd";
    write_file(path, "070701" + std::string(bytes - 6, '\0'));
    return path;
  }
  void expect_refused(const std::vector<std::string>& arguments, const std::string& because) {
    std::vector<std::string> all = {"run", "linux", "--backend", "hvf-sim"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    const Outcome outcome = stasis(all);
    EXPECT_NE(outcome.exit_code, 0);
    EXPECT_FALSE(outcome.signaled);
    EXPECT_THAT(outcome.err, HasSubstr(because));
  }
  void skip_without_simulation() {
    if (const auto backend = session::make_backend("hvf-sim", {}); !backend) {
      GTEST_SKIP() << backend.error().to_string();
    }
  }

  TemporaryDirectory directory_;
};

TEST_F(Arm64LinuxErrors, OptionsOfTheKernelAreOfTheKernelAlone) {
  const Outcome outcome = stasis({"run", "hello", "--cmdline", "quiet"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("stasis run linux"));
  EXPECT_THAT(stasis({"run", "linux", "--", "word"}).err, HasSubstr("--cmdline"));
}

TEST_F(Arm64LinuxErrors, ABackendThatCannotRunItSaysWhichCan) {
  const Outcome outcome = stasis({"run", "linux", "--backend", "mock"});
  EXPECT_THAT(outcome.err, HasSubstr("choose --backend hvf"));
}

TEST_F(Arm64LinuxErrors, FilesThatAreNoKernelOrInitramfsAreNamed) {
  skip_without_simulation();
  expect_refused({}, "scripts/fetch-linux-arm64");
  expect_refused({"--kernel", "/nonexistent"}, "/nonexistent");
  expect_refused({"--kernel", kernel()}, "--initrd");
  expect_refused({"--kernel", kernel(0xb), "--initrd", initrd()}, "big-endian");
  expect_refused({"--kernel", kernel(0xa, "none"), "--initrd", initrd()}, "magic number");
  expect_refused({"--kernel", kernel(), "--initrd", kernel()}, "not an initramfs");
  const std::string initramfs = initrd(std::size_t{80} << 20U);
  expect_refused({"--kernel", kernel(), "--initrd", initramfs, "--memory", "64M"}, "80 MiB");
  expect_refused({"--kernel", kernel(), "--initrd", initrd(), "--cmdline", std::string(3000, 'x')},
                 "command line");
  expect_refused({"--kernel", kernel(), "--initrd", initrd(), "--memory", "65M"},
                 "multiple of 2 MiB");
  expect_refused({"--kernel", kernel(), "--initrd", initrd(), "--vcpus", "9"}, "9 vCPUs");
}

TEST_F(Arm64LinuxErrors, WithoutQemuItSaysWhatToInstall) {
  skip_without_simulation();
  const Outcome outcome = stasis({"run", "linux", "--backend", "hvf-sim"}, "/nonexistent");
  EXPECT_THAT(outcome.err, HasSubstr("qemu-system-arm"));
}

// Nothing that the processor can execute: the guest fails, and nothing of it is left.
TEST_F(Arm64LinuxErrors, AKernelThatIsNoneFailsAndLeavesNothing) {
  skip_without_simulation();
  const Outcome outcome = stasis({"run", "linux", "--backend", "hvf-sim", "--kernel", kernel(),
                                  "--initrd", initrd(), "--memory", "64M", "--timeout", "3s"});
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_THAT(outcome.err, StartsWith("stasis: error: "));
}

class Arm64Linux : public Arm64LinuxErrors {
 protected:
  void SetUp() override {
    skip_without_simulation();
    // NOLINTBEGIN(concurrency-mt-unsafe)
    const char* const own = std::getenv("STASIS_LINUX_ARM64");
    const char* const cache = std::getenv("XDG_CACHE_HOME");
    const char* const home = std::getenv("HOME");
    // NOLINTEND(concurrency-mt-unsafe)
    const std::string base =
        cache != nullptr ? cache : std::string(home == nullptr ? "" : home) + "/.cache";
    files_ = own != nullptr ? own : base + "/stasis/linux-arm64";
    if (!IsSkipped() && !std::filesystem::exists(files_ + "/Image")) {
      GTEST_SKIP() << "no arm64 kernel in " << files_ << "; scripts/fetch-linux-arm64 fetches one";
    }
  }
  [[nodiscard]] std::vector<std::string> files() const {
    return {"--kernel", files_ + "/Image", "--initrd", files_ + "/initrd.cpio"};
  }

 private:
  std::string files_;
};

TEST_F(Arm64Linux, ItIsSavedWarmAndAnswersInAnotherProcess) {
  std::vector<std::string> launch = {
      "run",       "linux", "--backend", "hvf-sim", "--memory",  "256M",
      "--cmdline", "quiet", "--timeout", "150s",    "--request", "echo warm >/run/state; nproc",
      "--save",    "warm"};
  const std::vector<std::string> kernel_files = files();
  launch.insert(launch.end(), kernel_files.begin(), kernel_files.end());
  Process process(launch, {.directory = directory_.path()});
  Outcome outcome = process.wait(std::chrono::seconds(160));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("1\n"));
  outcome = stasis({"restore", "warm", "--backend", "hvf-sim", "--request", "cat /run/state"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("warm\n"));
}

}  // namespace
}  // namespace stasis::cli::test
