// A live Linux is stopped at arbitrary moments of its work, saved, destroyed and continued in
// another VM: whole first, then by a chain of differences. Its work ends as it would have.
#include <array>
#include <chrono>
#include <cstdio>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include "snapshot/capture.h"
#include "snapshot/policies/policy_catalog.h"
#include "snapshot/restore/restorer.h"
#include "snapshot/trackers/tracker_catalog.h"
#include "tests/experiments/temporary_directory.h"
#include "tests/hvf/linux_guest.h"

namespace stasis::hvf {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Clock = std::chrono::steady_clock;

constexpr int kSteps = 300;

// A chain of hashes, each a process of its own.
std::string work(const std::string& shell_end) {
  return "h=start; i=0; while [ $i -lt " + std::to_string(kSteps) +
         " ]; do i=$((i+1)); h=$(echo $h $i | sha256sum | cut -c1-16); done; " + shell_end;
}

// The same by the host's own tools.
std::string right_answer() {
  FILE* const pipe = ::popen(work("echo $h").c_str(), "r");  // NOLINT(cert-env33-c): no input.
  EXPECT_NE(pipe, nullptr);
  std::array<char, 64> line{};
  EXPECT_NE(std::fgets(line.data(), static_cast<int>(line.size()), pipe), nullptr);
  EXPECT_EQ(::pclose(pipe), 0);
  return line.data();
}

class LinuxSnapshotTest : public LinuxTest {
 protected:
  // Boots, begins the work in the background, and leaves the machine running.
  void start_work() {
    ports_ = std::make_unique<LinuxPorts>();
    machine_ = boot_linux(*backend_, *ports_, files_, GetParam());
    wait_for(*machine_, MachineEvent::Kind::kReady, *ports_);
    must(machine_->resume());
    uptime_begin_ = uptime();
    running_since_ = Clock::now();
    // The second keeps another CPU busy, if there is one, for as long as the first works.
    ask(*machine_, *ports_, "(" + work("echo $h >/run/answer") + ") >/dev/null 2>&1 &");
    ask(*machine_, *ports_,
        "(n=0; while [ ! -e /run/answer ]; do n=$((n+1)); done) >/dev/null 2>&1 &");
  }
  double uptime() { return std::stod(ask(*machine_, *ports_, "cat /proc/uptime")); }
  void stop() {
    must(machine_->pause(kLinuxPatience));
    ran_ += Clock::now() - running_since_;
  }

  snapshot::CaptureOptions options(const snapshot::SnapshotChain* parent = nullptr) const {
    snapshot::CaptureOptions options;
    options.creator = "stasis test";
    options.writer.durability = snapshot::Durability::kNone;
    options.writer.parent = parent;
    return options;
  }
  void save_full(const std::string& path) {
    must(snapshot::capture_full(*machine_, snapshot::posix_file_system(), path, options()));
  }
  // Only what `dirty` has seen since `parent_path`.
  void save_diff(const std::string& path, const std::string& parent_path,
                 snapshot::DirtyAccumulator& dirty) {
    const auto parent =
        must(snapshot::SnapshotChain::open(snapshot::posix_file_system(), parent_path));
    must(snapshot::capture_diff(*machine_, dirty, snapshot::posix_file_system(), path,
                                options(parent.get())));
  }
  // In a new VM, and paused; the old one is gone.
  void restore(const std::string& path, std::string_view policy) {
    machine_.reset();
    const auto chain = must(snapshot::SnapshotChain::open(snapshot::posix_file_system(), path));
    const snapshot::PlanInput input = snapshot::plan_input(*chain);
    const snapshot::RestorePlan plan = must(snapshot::make_plan(policy, input, {}));
    ports_ = std::make_unique<LinuxPorts>();
    running_since_ = Clock::now();
    machine_ = must(snapshot::restore(*chain, input, plan, *backend_, ports_->make_bus(), {}));
  }

  // Runs the work to its end and looks at all that could be wrong then.
  void expect_right_end() {
    EXPECT_EQ(
        ask(*machine_, *ports_, "while [ ! -s /run/answer ]; do sleep 1; done; cat /run/answer"),
        right_answer());
    for (std::uint32_t cpu = 0; cpu < GetParam(); ++cpu) {
      EXPECT_EQ(
          ask(*machine_, *ports_, "taskset " + std::to_string(1U << cpu) + " sh -c 'echo alive'"),
          "alive\n")
          << "CPU " << cpu;
    }
    const double end = uptime();
    stop();
    // The time in between is not the guest's. QEMU's counter is up to two per cent fast.
    const double ran = std::chrono::duration<double>(ran_).count();
    EXPECT_LE(end - uptime_begin_, ran * 1.03 + 0.1);
    must(machine_->resume());
    const std::string log = ask(*machine_, *ports_, "dmesg");
    for (const char* complaint : {"stall", "lockup", "Oops", "BUG", "clocksource: timekeeping"}) {
      EXPECT_THAT(log, Not(HasSubstr(complaint)));
    }
  }

  experiments::TemporaryDirectory directory_;
  std::unique_ptr<LinuxPorts> ports_;
  std::unique_ptr<Machine> machine_;
  double uptime_begin_ = 0;
  Clock::time_point running_since_;
  Clock::duration ran_{};
};

TEST_P(LinuxSnapshotTest, ItsWorkGoesOnInANewVmFromTwentyArbitraryMoments) {
  start_work();
  std::mt19937 random(20261127);  // NOLINT(cert-msc51-cpp): the same moments each time, nearly.
  for (int point = 0; point < 20 && !HasFailure(); ++point) {
    // Anything from the middle of an instruction's exit to some ticks of its timer later.
    const auto moment = Clock::now() + std::chrono::microseconds(random() % 60'000);
    while (Clock::now() < moment) {
      std::this_thread::yield();
    }
    stop();
    const MachineState saved = must(machine_->save_state());
    const std::string path = directory_.file("full-" + std::to_string(point));
    save_full(path);
    restore(path, point % 2 == 0 ? "eager" : "lazy");
    EXPECT_EQ(must(machine_->save_state()), saved) << "point " << point;
    must(machine_->resume());
  }
  expect_right_end();
}

TEST_P(LinuxSnapshotTest, ItsWorkGoesOnFromEachLinkOfAChainOfDifferences) {
  start_work();
  stop();
  std::vector<std::string> paths = {directory_.file("full")};
  save_full(paths.back());
  for (int link = 1; link <= 4 && !HasFailure(); ++link) {
    const auto tracker = must(snapshot::make_tracker("protection", *machine_));
    snapshot::DirtyAccumulator dirty(*machine_, *tracker);
    must(dirty.arm());
    running_since_ = Clock::now();
    must(machine_->resume());
    EXPECT_EQ(ask(*machine_, *ports_, "echo link"), "link\n");
    stop();
    const std::string path = directory_.file("diff-" + std::to_string(link));
    save_diff(path, paths.back(), dirty);
    must(dirty.disarm());
    paths.push_back(path);
    restore(path, link % 2 == 0 ? "eager" : "lazy");
  }
  must(machine_->resume());
  expect_right_end();
}

INSTANTIATE_TEST_SUITE_P(Vcpus, LinuxSnapshotTest, testing::Values(1U, 2U),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace stasis::hvf
