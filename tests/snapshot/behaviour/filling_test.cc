// Restores that take long: told how far they are, stopped half-way, and robbed of their payload
// while they read it or while their guest runs.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/trackers/tracker_catalog.h"
#include "tests/snapshot/behaviour/saved_toy.h"

namespace stasis::snapshot {
namespace {

using testing::capture_options;
using testing::Format;
using ::testing::HasSubstr;
using testing::restore_toy;
using testing::TemporaryDirectory;
using testing::ToyConfig;
using testing::ToyMachine;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20U;

class FillingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ToyConfig config;
    config.data_pages = 5120;  // Some 20 MiB a region: several areas of the filler.
    toy_ = testing::make_toy_machine(config);
    for (const MemoryRegion& region : toy_.machine->memory().regions()) {
      const auto bytes = toy_.machine->memory().writable_view(region.range);
      ASSERT_TRUE(bytes);
      // Not a zero page, and nothing that LZ4 makes small; the toy's code stays what it is.
      for (std::uint64_t at = 0; at < bytes->size(); at += sizeof(std::uint64_t)) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes->data() + at, sizeof(word));
        word = word != 0 ? word : (at + 1) * 0x9E3779B97F4A7C15;
        std::memcpy(bytes->data() + at, &word, sizeof(word));
      }
    }
  }
  std::string save(const Format& format, const std::string& name) {
    const std::string path = directory_.path(name);
    const auto report =
        capture_full(*toy_.machine, posix_file_system(), path, capture_options(format));
    EXPECT_TRUE(report) << report.error().to_string();
    return path;
  }

  TemporaryDirectory directory_;
  ToyMachine toy_;
};

constexpr Format kRaw = {Layout::kMappable, Codec::kNone, 64U << 10U};
constexpr Format kPackedLz4 = {Layout::kPacked, Codec::kLz4, 64U << 10U};

TEST_F(FillingTest, TellsHowFarItIsAndEndsWithAllOfIt) {
  const std::string path = save(kRaw, "raw");
  for (const std::uint32_t threads : {1U, 4U}) {
    std::vector<std::uint64_t> done;
    std::uint64_t total = 0;
    RestoreOptions options;
    options.supervision.progress = [&](std::uint64_t now, std::uint64_t all) {
      done.push_back(now);
      total = all;
    };
    ASSERT_TRUE(restore_toy(path, *toy_.backend, "eager", {.threads = threads}, options));
    EXPECT_GT(total, 32 * kMiB);
    ASSERT_GE(done.size(), 2U);
    EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
    EXPECT_EQ(done.back(), total);
  }
}

TEST_F(FillingTest, StopsSoonWhenItIsCancelledAndLeavesNoVm) {
  for (const Format& format : {kRaw, kPackedLz4}) {
    const std::string path = save(format, std::string(name_of(format.layout)));
    for (const std::uint32_t threads : {1U, 2U}) {
      std::atomic<bool> cancel = false;
      std::uint64_t done = 0;
      std::uint64_t total = 0;
      RestoreOptions options;
      options.supervision.cancel = &cancel;
      options.supervision.progress = [&](std::uint64_t now, std::uint64_t all) {
        cancel = true;
        done = now;
        total = all;
      };
      const auto cancelled =
          restore_toy(path, *toy_.backend, "eager", {.threads = threads}, options);
      ASSERT_FALSE(cancelled);
      EXPECT_EQ(cancelled.error().code, Errc::kIo);
      EXPECT_THAT(cancelled.error().message, HasSubstr("cancelled"));
      EXPECT_THAT(cancelled.error().message, HasSubstr(path));
      EXPECT_LT(done, total);
    }
    EXPECT_TRUE(restore_toy(path, *toy_.backend, "eager"));
  }
}

TEST_F(FillingTest, ACancellationBeforeItBeginsIsNoticedToo) {
  const std::string path = save(kRaw, "raw");
  const std::atomic<bool> cancel = true;
  RestoreOptions options;
  options.supervision.cancel = &cancel;
  EXPECT_FALSE(restore_toy(path, *toy_.backend, "eager", {}, options));
}

TEST_F(FillingTest, APayloadThatIsCutWhileItIsReadIsNamed) {
  for (const Format& format : {kRaw, kPackedLz4}) {
    const std::string path = save(format, std::string(name_of(format.layout)));
    for (const Verify verify : {Verify::kOn, Verify::kOff}) {
      const auto whole = std::filesystem::file_size(path + "/memory");
      RestoreOptions options;
      options.supervision.progress = [&](std::uint64_t, std::uint64_t) {
        std::filesystem::resize_file(path + "/memory", 4096);
      };
      const auto result =
          restore_toy(path, *toy_.backend, "eager", {.threads = 1, .verify = verify}, options);
      ASSERT_FALSE(result);
      EXPECT_THAT(result.error().message, HasSubstr(path + "/memory"));
      std::filesystem::resize_file(path + "/memory", whole);
    }
  }
}

// ---- Under a running guest ----

class LostPayloadTest : public FillingTest {
 protected:
  // A lazy guest whose payload is gone, but that has not noticed yet.
  void rob(testing::Restored& restored) {
    const std::string path = save(kRaw, "raw");
    auto lazy = restore_toy(path, *toy_.backend, "lazy");
    ASSERT_TRUE(lazy) << lazy.error().to_string();
    restored = *std::move(lazy);
    std::filesystem::resize_file(path + "/memory", 0);
  }
};

TEST_F(LostPayloadTest, EndsTheGuestWithAClearErrorAndNotTheProcess) {
  testing::Restored restored;
  rob(restored);
  ASSERT_TRUE(restored.machine->step(1000));
  const auto event = restored.machine->wait_event(std::chrono::seconds(0));
  ASSERT_TRUE(event) << event.error().to_string();
  EXPECT_EQ(event->kind, MachineEvent::Kind::kHostFailed);
  EXPECT_THAT(event->message, HasSubstr("cut short"));
  EXPECT_FALSE(capture_full(*restored.machine, posix_file_system(), directory_.path("after"),
                            capture_options(kRaw)));
}

TEST_F(LostPayloadTest, IsNeverSaved) {
  testing::Restored restored;
  rob(restored);
  const std::string target = directory_.path("after");
  for (const Format& format : {kRaw, kPackedLz4}) {
    const auto saved =
        capture_full(*restored.machine, posix_file_system(), target, capture_options(format));
    ASSERT_FALSE(saved);
    EXPECT_EQ(saved.error().code, Errc::kIo) << saved.error().to_string();
    EXPECT_FALSE(std::filesystem::exists(target));
  }
}

TEST_F(LostPayloadTest, IsNoticedByTheTrackersThatReadMemory) {
  testing::Restored restored;
  rob(restored);
  for (const char* name : {"compare", "compare-hash"}) {
    const auto tracker = make_tracker(name, *restored.machine);
    ASSERT_TRUE(tracker) << name;
    DirtyAccumulator dirty(*restored.machine, **tracker);
    const auto armed = dirty.arm();
    ASSERT_FALSE(armed) << name;
    EXPECT_THAT(armed.error().message, HasSubstr("cut short"));
  }
}

}  // namespace
}  // namespace stasis::snapshot
