// What can go wrong in a live capture: it fails with an error that says so, nothing half-written is
// visible, and the guest runs on.
#include <signal.h>  // NOLINT(modernize-deprecated-headers): kill() is POSIX.
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/live/frozen_memory.h"
#include "snapshot/live/mechanism_catalog.h"
#include "snapshot/live/mechanism_factories.h"
#include "tests/snapshot/behaviour/toy_machine.h"
#include "tests/snapshot/live/live_case.h"

namespace stasis::snapshot {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::LiveCase;
using testing::ToyMachine;

constexpr std::chrono::seconds kPause{30};

// A toy guest of two vCPUs that never stops writing.
class LiveFault : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::ToyConfig config;
    config.vcpus = 2;
    config.data_pages = 48;
    toy_ = testing::make_toy_machine(config);
    toy_.output->keep_at_most(10);
    ASSERT_TRUE(toy_.machine->resume());
    await_guest();
  }
  void TearDown() override {
    await_guest();
    // Whatever happened: what is saved now is right.
    LiveCase saves(*toy_.machine);
    const auto report = saves.full_pair();
    ASSERT_TRUE(report) << report.error().to_string();
    EXPECT_THAT(report->pages, IsEmpty());
    EXPECT_THAT(report->fields, IsEmpty());
  }

  // The guest runs: it says something that it has not said when this is called.
  void await_guest(std::uint64_t words = 5) const {
    const std::uint64_t before = toy_.output->count();
    while (toy_.output->count() < before + words) {
      std::this_thread::yield();
    }
  }
  Result<std::unique_ptr<LiveCapture>> begin(LiveRequest request, FileSystem& files) {
    if (request.target.empty()) {
      request.target = "/live";
    }
    request.capture.creator = "live fault test";
    return LiveCapture::begin(*toy_.machine, files, std::move(request));
  }
  Result<LiveReport> capture(LiveRequest request, FileSystem& files) {
    STASIS_ASSIGN(const auto live, begin(std::move(request), files));
    return live->finish();
  }

  // Frozen by userfaultfd, with the guest running again. `in_the_pause` may be empty.
  Result<std::unique_ptr<internal::FrozenMemory>> freeze(
      const LiveOptions& options, const internal::FaultThreadOptions& thread,
      const std::function<void()>& in_the_pause) {
    STASIS_ASSIGN(auto frozen,
                  internal::make_userfaultfd_freeze(toy_.machine->memory(), options, thread));
    const GpaRanges all = toy_.machine->memory().ranges();
    STASIS_TRY(frozen->prepare(all));
    STASIS_TRY(toy_.machine->pause(kPause));
    if (in_the_pause) {
      in_the_pause();
    }
    Result<void> done = frozen->freeze(all);
    STASIS_TRY(toy_.machine->resume());
    STASIS_TRY(std::move(done));
    return frozen;
  }
  // Its memory is gone then; until it is scheduled, it may be read.
  static void await_death(pid_t child) {
    const auto is_dead = [child] {
      std::ifstream status("/proc/" + std::to_string(child) + "/status");
      for (std::string line; std::getline(status, line);) {
        if (line.starts_with("State:")) {
          return line.find('Z') != std::string::npos || line.find('X') != std::string::npos;
        }
      }
      return true;
    };
    while (!is_dead()) {
      std::this_thread::yield();
    }
  }
  static bool has_userfaultfd(const Capabilities& capabilities) {
    return list_live_mechanisms(capabilities).front().available;
  }

  ToyMachine toy_;
};

#define SKIP_WITHOUT_USERFAULTFD()                                                     \
  if (!has_userfaultfd(toy_.machine->capabilities())) {                                \
    GTEST_SKIP() << list_live_mechanisms(toy_.machine->capabilities()).front().reason; \
  }

TEST_F(LiveFault, AFaultThreadThatFailsLetsTheGuestGoOn) {
  SKIP_WITHOUT_USERFAULTFD();
  std::atomic<bool> counts = false;
  std::atomic<int> rounds = 0;
  internal::FaultThreadOptions thread;
  thread.before_answering = [&]() -> Result<void> {
    return counts.load() && ++rounds > 1 ? Error{Errc::kIo, 0, "it was killed"} : Result<void>();
  };
  const auto frozen = freeze({}, thread, [&counts] { counts.store(true); });
  ASSERT_TRUE(frozen) << frozen.error().to_string();
  // The two vCPUs write to many more chunks than one round can answer.
  while ((*frozen)->check()) {
    std::this_thread::yield();
  }
  await_guest(2000);
  EXPECT_THAT((*frozen)->check().error().message, HasSubstr("it was killed"));
  std::vector<std::byte> page(4096);
  const Gpa first = toy_.machine->memory().regions().front().range.begin;
  EXPECT_FALSE((*frozen)->take({first, page.size()}, page));
}

TEST_F(LiveFault, AFaultThreadThatStandsStillLetsTheGuestGoOn) {
  SKIP_WITHOUT_USERFAULTFD();
  std::atomic<bool> stands = false;
  std::atomic<bool> over = false;
  internal::FaultThreadOptions thread;
  thread.look_every = std::chrono::milliseconds(20);
  thread.looks = 3;
  thread.before_answering = [&]() -> Result<void> {
    while (stands.load() && !over.load()) {
      std::this_thread::yield();
    }
    return {};
  };
  stands.store(true);  // From the first fault on, which may come while memory is being protected.
  auto frozen = internal::make_userfaultfd_freeze(toy_.machine->memory(), {}, thread);
  ASSERT_TRUE(frozen) << frozen.error().to_string();
  (void)(*frozen)->prepare(toy_.machine->memory().ranges()).has_value();
  await_guest(2000);
  const auto check = (*frozen)->check();
  ASSERT_FALSE(check) << "a guest that writes meets protection, and nobody answers";
  EXPECT_EQ(check.error().code, Errc::kTimeout);
  EXPECT_THAT(check.error().message, HasSubstr("has answered none"));
  over.store(true);
  (*frozen)->thaw();
}

TEST_F(LiveFault, AGuestThatIsTooFastWaitsForTheWriter) {
  SKIP_WITHOUT_USERFAULTFD();
  LiveOptions options;
  options.buffer_bytes = 16 * 4096;  // One chunk.
  const auto frozen = freeze(options, {}, {});
  ASSERT_TRUE(frozen) << frozen.error().to_string();
  while ((*frozen)->counters().waits == 0) {
    std::this_thread::yield();
  }
  EXPECT_LE((*frozen)->counters().copied_peak_bytes, options.buffer_bytes);
  for (const MemoryRegion& region : toy_.machine->memory().regions()) {
    std::vector<std::byte> bytes(region.range.size);
    ASSERT_TRUE((*frozen)->take(region.range, bytes));
  }
  EXPECT_TRUE((*frozen)->check());
  await_guest();  // Although nothing is thawed yet.
}

TEST_F(LiveFault, AGuestThatIsTooFastEndsTheCaptureWhenAsked) {
  MemoryFileSystem files;
  files.before = [this](std::string_view operation, const std::string& path) -> Result<void> {
    if (operation == "write" && path.ends_with("/memory")) {
      await_guest(2000);  // It is not made to wait, however slow the disk.
    }
    return {};
  };
  LiveRequest request;
  request.live.mechanism = "protection";
  request.live.buffer_bytes = 4096;
  request.live.when_full = WhenFull::kAbort;
  const auto report = capture(request, files);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::kIo);
  EXPECT_THAT(report.error().message, HasSubstr("faster than the snapshot is written"));
  EXPECT_THAT(files.files(), IsEmpty());
}

TEST_F(LiveFault, AFullDiskIsReportedAndLeavesNothing) {
  for (const Availability& mechanism : list_live_mechanisms(toy_.machine->capabilities())) {
    if (!mechanism.available) {
      continue;
    }
    MemoryFileSystem files;
    int writes = 0;
    files.before = [&writes](std::string_view operation, const std::string& path) -> Result<void> {
      if (operation == "write" && ++writes > 1) {
        return Error{Errc::kIo, ENOSPC, "write '" + path + "': no space left on device"};
      }
      return {};
    };
    LiveRequest request;
    request.live.mechanism = mechanism.name;
    const auto report = capture(request, files);
    ASSERT_FALSE(report) << mechanism.name;
    EXPECT_EQ(report.error().os_error, ENOSPC) << mechanism.name;
    EXPECT_THAT(files.files(), IsEmpty()) << mechanism.name;
    await_guest();
  }
}

TEST_F(LiveFault, ADirectoryThatVanishesIsReported) {
  namespace fs = std::filesystem;
  const fs::path parent = fs::path(::testing::TempDir()) / ("live" + std::to_string(getpid()));
  fs::create_directories(parent);
  LiveRequest request;
  request.target = parent / "live";
  request.capture.writer.durability = Durability::kNone;
  request.capture.writer.supervision.progress = [&parent](std::uint64_t, std::uint64_t) {
    std::error_code ignored;
    fs::remove_all(parent, ignored);
  };
  const auto report = capture(request, posix_file_system());
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().message, HasSubstr(parent.string()));
  EXPECT_FALSE(fs::exists(request.target));
}

TEST_F(LiveFault, AMissingDirectoryIsFoundBeforeTheGuestIsTouched) {
  LiveRequest request;
  request.target = "/no/such/directory/live";
  bool paused = false;
  request.at_the_moment = [&paused]() -> Result<void> {
    paused = true;
    return {};
  };
  const auto report = capture(request, posix_file_system());
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Errc::kNotFound);
  EXPECT_FALSE(paused);
}

TEST_F(LiveFault, AnErrorInThePauseLeavesNothing) {
  for (const Availability& mechanism : list_live_mechanisms(toy_.machine->capabilities())) {
    if (!mechanism.available) {
      continue;
    }
    MemoryFileSystem files;
    LiveRequest request;
    request.live.mechanism = mechanism.name;
    request.at_the_moment = []() -> Result<void> { return Error{Errc::kIo, 0, "a bad moment"}; };
    const auto live = begin(request, files);
    ASSERT_FALSE(live) << mechanism.name;
    EXPECT_EQ(live.error().message, "a bad moment");
    EXPECT_THAT(files.files(), IsEmpty());
    EXPECT_FALSE(toy_.machine->is_paused());
    await_guest();
  }
}

TEST_F(LiveFault, OneThatIsGivenUpLeavesNothing) {
  for (const Availability& mechanism : list_live_mechanisms(toy_.machine->capabilities())) {
    if (!mechanism.available) {
      continue;
    }
    MemoryFileSystem files;
    std::atomic<bool> may_write = false;
    files.before = [&may_write](std::string_view operation, const std::string&) -> Result<void> {
      while (operation == "write" && !may_write.load()) {
        std::this_thread::yield();
      }
      return {};
    };
    LiveRequest request;
    request.live.mechanism = mechanism.name;
    std::atomic<bool> stop = false;
    request.capture.writer.supervision.cancel = &stop;
    auto live = begin(request, files);
    ASSERT_TRUE(live) << mechanism.name << ": " << live.error().to_string();
    EXPECT_FALSE((*live)->is_done());
    (*live)->cancel();
    may_write.store(true);
    const auto report = (*live)->finish();
    ASSERT_FALSE(report);
    EXPECT_THAT(report.error().message, HasSubstr("cancelled"));
    EXPECT_THAT(files.files(), IsEmpty());
    // And from outside, and by dropping it.
    stop.store(true);
    const auto stopped = capture(request, files);
    ASSERT_FALSE(stopped);
    EXPECT_THAT(stopped.error().message, HasSubstr("cancelled"));
    stop.store(false);
    live = begin(request, files);
    ASSERT_TRUE(live);
    live->reset();
    EXPECT_THAT(files.files(), IsEmpty());
    EXPECT_FALSE(toy_.machine->is_paused());
    await_guest();
  }
}

TEST_F(LiveFault, AFrozenCopyThatIsKilledIsReported) {
  const std::string children = "/proc/thread-self/children";
  if (!std::filesystem::exists(children)) {
    GTEST_SKIP() << "this kernel does not list a thread's children";
  }
  MemoryFileSystem files;
  LiveRequest request;
  request.live.mechanism = "fork";
  int killed = 0;
  request.at_the_moment = [&]() -> Result<void> {
    std::ifstream list(children);
    for (pid_t child = 0; list >> child;) {
      killed += kill(child, SIGKILL) == 0 ? 1 : 0;
      await_death(child);
    }
    return {};
  };
  const auto report = capture(request, files);
  EXPECT_EQ(killed, 1);
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().message, HasSubstr("was killed"));
  EXPECT_THAT(files.files(), IsEmpty());
}

TEST_F(LiveFault, UserfaultfdThatIsNotPermittedIsNamedWithItsCure) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "permission can be given up by root alone";
  }
  std::ifstream setting("/proc/sys/vm/unprivileged_userfaultfd");
  int open_to_all = 0;
  setting >> open_to_all;
  constexpr uid_t kNobody = 65534;
  MemoryFileSystem files;
  LiveRequest request;
  request.live.mechanism = "userfaultfd";
  ASSERT_EQ(seteuid(kNobody), 0);
  const auto refused = begin(request, files);
  const Availability listed = list_live_mechanisms(toy_.machine->capabilities()).front();
  ASSERT_EQ(seteuid(0), 0);
  EXPECT_EQ(listed.available, open_to_all != 0);
  if (open_to_all != 0) {
    EXPECT_TRUE(refused);
    return;
  }
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kNotSupported);
  EXPECT_THAT(refused.error().message, HasSubstr("vm.unprivileged_userfaultfd=1"));
  EXPECT_THAT(files.files(), IsEmpty());
}

}  // namespace
}  // namespace stasis::snapshot
