// A save that is cut short at any point, by a crash of the host, a full disk, or kill -9, leaves
// the old snapshot or the new one.
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/operations.h"
#include "tests/snapshot/memory_file_system.h"
#include "tests/snapshot/samples.h"

namespace stasis::snapshot {
namespace {

using ::testing::HasSubstr;

constexpr Survivors kAllSurvivors[] = {Survivors::kAll, Survivors::kSyncedOnly,
                                       Survivors::kEntriesOnly};

struct Mode {
  const char* name;
  Layout layout;
  Codec codec;
  bool differential;
};
void PrintTo(const Mode& mode, std::ostream* out) {
  *out << mode.name;
}

// Two states of a guest: `old_` is saved as "/dir/a", `new_` is being saved.
class CrashTest : public ::testing::TestWithParam<Mode> {
 protected:
  static std::unique_ptr<GuestMemory> memory(std::uint64_t seed) {
    Random random(seed);
    auto memory = make_memory({{Gpa{0}, 3 * kMiB}});
    fill_randomly(*memory, random);
    return memory;
  }

  static WriterOptions options() {
    WriterOptions options;
    options.layout = GetParam().layout;
    options.codec = GetParam().codec;
    options.replace_existing = true;
    return options;
  }

  void SetUp() override {
    ASSERT_TRUE(file_system_.create_directory("/dir"));
    ASSERT_TRUE(save(file_system_, "/dir/base", *old_, options()));
    ASSERT_TRUE(save(file_system_, "/dir/a", *old_, options()));
    file_system_.settle();
  }

  Result<WriteReport> save_new(MemoryFileSystem& file_system, const std::string& target) {
    WriterOptions writing = options();
    writing.threads = 1;  // The same order of operations each time.
    if (!GetParam().differential) {
      return save(file_system, target, *new_, writing);
    }
    STASIS_ASSIGN(const auto parent, SnapshotChain::open(file_system, "/dir/base"));
    writing.parent = parent.get();
    return save(file_system, target, *new_, writing, {{Gpa{0}, 3 * kMiB}});
  }

  static std::vector<std::byte> contents(FileSystem& file_system, const std::string& path) {
    const auto chain = SnapshotChain::open(file_system, path);
    EXPECT_TRUE(chain) << chain.error().to_string();
    if (!chain) {
      return {};
    }
    const auto verified = verify(file_system, path, 1, {});
    EXPECT_TRUE(verified && verified->findings.empty());
    auto bytes = all_bytes(**chain, CheckChunks::kYes);
    EXPECT_TRUE(bytes) << bytes.error().to_string();
    return bytes ? *std::move(bytes) : std::vector<std::byte>();
  }

  std::unique_ptr<GuestMemory> old_ = memory(1);
  std::unique_ptr<GuestMemory> new_ = memory(2);
  MemoryFileSystem file_system_;
};

TEST_P(CrashTest, EveryPrefixOfANewSaveLeavesNothingOrTheSnapshot) {
  int images = 0;
  int complete = 0;
  file_system_.after = [&] {
    for (const Survivors survivors : kAllSurvivors) {
      const auto rebooted = file_system_.after_crash(survivors);
      ++images;
      if (const auto status = rebooted->status("/dir/b"); *status) {
        ++complete;
        EXPECT_EQ(contents(*rebooted, "/dir/b"), all_bytes(*new_));
      } else {
        const auto missing = SnapshotChain::open(*rebooted, "/dir/b");
        EXPECT_EQ(missing.error().code, Errc::kNotFound);
      }
      EXPECT_EQ(contents(*rebooted, "/dir/a"), all_bytes(*old_));
    }
  };
  const auto saved = save_new(file_system_, "/dir/b");
  ASSERT_TRUE(saved) << saved.error().to_string();
  EXPECT_GE(images, 3 * 10);
  EXPECT_GE(complete, 3);
  // When save() has returned nothing depends on luck any more.
  EXPECT_EQ(contents(*file_system_.after_crash(Survivors::kSyncedOnly), "/dir/b"),
            all_bytes(*new_));
}

TEST_P(CrashTest, EveryPrefixOfAReplacementLeavesTheOldOrTheNewSnapshot) {
  bool seen_old = false;
  bool seen_new = false;
  file_system_.after = [&] {
    for (const Survivors survivors : kAllSurvivors) {
      const auto rebooted = file_system_.after_crash(survivors);
      const auto bytes = contents(*rebooted, "/dir/a");
      if (bytes == all_bytes(*new_)) {
        seen_new = true;
      } else {
        EXPECT_EQ(bytes, all_bytes(*old_));
        seen_old = true;
      }
    }
  };
  const auto saved = save_new(file_system_, "/dir/a");
  ASSERT_TRUE(saved) << saved.error().to_string();
  EXPECT_TRUE(seen_old && seen_new);
  EXPECT_EQ(contents(*file_system_.after_crash(Survivors::kSyncedOnly), "/dir/a"),
            all_bytes(*new_));
}

TEST_P(CrashTest, TheNextSaveCleansUpAfterEveryCrash) {
  std::vector<std::unique_ptr<MemoryFileSystem>> images;
  file_system_.after = [&] { images.push_back(file_system_.after_crash(Survivors::kAll)); };
  ASSERT_TRUE(save_new(file_system_, "/dir/a"));
  for (const auto& image : images) {
    const auto saved = save_new(*image, "/dir/a");
    ASSERT_TRUE(saved) << saved.error().to_string();
    EXPECT_THAT(*image->list_directory("/dir"), ::testing::UnorderedElementsAre("a", "base"));
    EXPECT_EQ(contents(*image, "/dir/a"), all_bytes(*new_));
  }
}

TEST_P(CrashTest, AnyOperationThatFailsGivesOneErrorAndLeavesTheOldSnapshot) {
  for (int failing = 0;; ++failing) {
    ASSERT_LT(failing, 1000);
    const auto fresh = file_system_.after_crash(Survivors::kAll);
    int count = 0;
    std::string operation;
    fresh->before = [&](std::string_view name, const std::string& path) -> Result<void> {
      if (count++ == failing) {
        operation = name;
        return errno_error(name == "write" ? ENOSPC : EIO, std::string(name) + " '" + path + "'");
      }
      return {};
    };
    const auto saved = save_new(*fresh, "/dir/a");
    fresh->before = nullptr;
    if (operation.empty()) {
      ASSERT_TRUE(saved) << saved.error().to_string();
      EXPECT_GE(failing, 10);
      return;
    }
    const bool only_cleaning = operation == "unlink" || operation == "rmdir";
    if (only_cleaning) {
      EXPECT_TRUE(saved);  // The new snapshot is in place; the rest is swept up next time.
      EXPECT_EQ(contents(*fresh, "/dir/a"), all_bytes(*new_));
      continue;
    }
    ASSERT_FALSE(saved) << operation;
    EXPECT_EQ(saved.error().code, Errc::kIo);
    EXPECT_THAT(saved.error().message, HasSubstr("/dir"));
    const auto bytes = contents(*fresh, "/dir/a");
    if (saved.error().message.find("may not survive") != std::string::npos) {
      EXPECT_EQ(bytes, all_bytes(*new_));
    } else {
      EXPECT_EQ(bytes, all_bytes(*old_)) << operation;
      EXPECT_THAT(*fresh->list_directory("/dir"), ::testing::UnorderedElementsAre("a", "base"));
    }
  }
}

TEST_P(CrashTest, ADiskThatStaysFullGivesOneErrorAndLeavesTheOldSnapshot) {
  int failures = 0;
  for (std::uint64_t free_bytes = 0;; free_bytes += 300 * kKiB) {
    const auto fresh = file_system_.after_crash(Survivors::kAll);
    const std::uint64_t at_start = fresh->files().size();
    fresh->before = [&](std::string_view name, const std::string& path) -> Result<void> {
      std::uint64_t used = 0;
      for (const auto& [file, bytes] : fresh->files()) {
        used += file.find(".stasis-") != std::string::npos ? bytes.size() : 0;
      }
      if (name == "write" && used >= free_bytes) {
        return errno_error(ENOSPC, "write '" + path + "'");
      }
      return {};
    };
    const auto saved = save_new(*fresh, "/dir/a");
    fresh->before = nullptr;
    if (saved) {
      break;
    }
    ++failures;
    EXPECT_EQ(saved.error().os_error, ENOSPC);
    EXPECT_EQ(fresh->files().size(), at_start);
    EXPECT_EQ(contents(*fresh, "/dir/a"), all_bytes(*old_));
  }
  EXPECT_GE(failures, 2);  // In the payload, and in the files after it.
}

INSTANTIATE_TEST_SUITE_P(All, CrashTest,
                         ::testing::Values(Mode{"mappable", Layout::kMappable, Codec::kNone, false},
                                           Mode{"packed_lz4", Layout::kPacked, Codec::kLz4, false},
                                           Mode{"difference", Layout::kPacked, Codec::kNone, true}),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

// ---- On the host's own file system ----

class HostCrashTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Random random(1);
    fill_randomly(*memory_, random);
  }
  std::unique_ptr<GuestMemory> memory_ = make_memory({{Gpa{0}, 24 * kMiB}});
  TemporaryDirectory directory_;
};

// Saves again and again, replacing; never returns.
[[noreturn]] void save_for_ever(const std::string& target, const GuestMemory& memory) {
  for (int i = 0;; ++i) {
    WriterOptions options;
    options.replace_existing = true;
    options.durability = i % 4 == 0 ? Durability::kSync : Durability::kNone;
    options.layout = i % 2 == 0 ? Layout::kMappable : Layout::kPacked;
    options.codec = i % 2 == 0 ? Codec::kNone : Codec::kLz4;
    if (!save(posix_file_system(), target, memory, options)) {
      _exit(1);
    }
  }
}

TEST_F(HostCrashTest, KillingASaverAtManyPointsLeavesAWholeSnapshotAndNoLitterForLong) {
  const std::string target = directory_ / "snapshot";
  ASSERT_TRUE(save(posix_file_system(), target, *memory_));
  const auto expected = all_bytes(*memory_);
  Random random(99);
  for (int round = 0; round < 40; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      save_for_ever(target, *memory_);
    }
    // Not to synchronise with anything: the point of the kill is meant to be arbitrary.
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 60'000));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the saver failed by itself";
    const auto chain = SnapshotChain::open(posix_file_system(), target);
    ASSERT_TRUE(chain) << chain.error().to_string();
    const auto bytes = all_bytes(**chain, CheckChunks::kYes);
    ASSERT_TRUE(bytes) << bytes.error().to_string();
    ASSERT_EQ(*bytes, expected);
  }
  WriterOptions options;
  options.replace_existing = true;
  ASSERT_TRUE(save(posix_file_system(), target, *memory_, options));
  EXPECT_THAT(*posix_file_system().list_directory(directory_.path()),
              ::testing::ElementsAre("snapshot"));
}

TEST_F(HostCrashTest, ASmallFullDiskGivesOneErrorAndLeavesTheOldSnapshot) {
  const std::string mount = directory_ / "small";
  std::filesystem::create_directory(mount);
  if (::mount("tmpfs", mount.c_str(), "tmpfs", 0, "size=40m") != 0) {
    GTEST_SKIP() << "cannot mount a tmpfs here: " << std::strerror(errno);
  }
  const auto saved = save(posix_file_system(), mount + "/a", *memory_);
  WriterOptions options;
  options.replace_existing = true;
  const auto big = make_memory({{Gpa{0}, 64 * kMiB}});
  for (std::uint64_t page = 0; page < 64 * kMiB; page += 4096) {
    fill_page(*big, Gpa{page}, 1);
  }
  const auto failed = save(posix_file_system(), mount + "/a", *big, options);
  const auto names = posix_file_system().list_directory(mount);
  const auto chain = SnapshotChain::open(posix_file_system(), mount + "/a");
  const auto bytes =
      chain ? all_bytes(**chain, CheckChunks::kYes) : Result<std::vector<std::byte>>(chain.error());
  ASSERT_EQ(::umount2(mount.c_str(), MNT_DETACH), 0);
  ASSERT_TRUE(saved) << saved.error().to_string();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().os_error, ENOSPC);
  EXPECT_THAT(failed.error().message, HasSubstr("memory"));
  EXPECT_THAT(*names, ::testing::ElementsAre("a"));
  ASSERT_TRUE(bytes) << bytes.error().to_string();
  EXPECT_EQ(*bytes, all_bytes(*memory_));
}

TEST_F(HostCrashTest, AMissingOrReadOnlyDirectoryIsNamedInTheError) {
  const auto missing = save(posix_file_system(), directory_ / "no/such/place", *memory_);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::kNotFound);
  EXPECT_THAT(missing.error().message, HasSubstr("no/such"));

  const std::string locked = directory_ / "locked";
  std::filesystem::create_directory(locked);
  std::filesystem::permissions(locked, std::filesystem::perms(0500));
  const bool mounted = ::access(locked.c_str(), W_OK) == 0;
  if (mounted && ::mount("tmpfs", locked.c_str(), "tmpfs", MS_RDONLY, "size=1m") != 0) {
    GTEST_SKIP() << "this user may write everywhere and cannot mount: " << std::strerror(errno);
  }
  const auto denied = save(posix_file_system(), locked + "/a", *memory_);
  if (mounted) {
    ASSERT_EQ(::umount2(locked.c_str(), MNT_DETACH), 0);
  }
  std::filesystem::permissions(locked, std::filesystem::perms(0700));
  ASSERT_FALSE(denied);
  EXPECT_EQ(denied.error().code, Errc::kIo);
  EXPECT_THAT(denied.error().message, HasSubstr("locked"));
}

}  // namespace
}  // namespace stasis::snapshot
