// Saving and loading: everything goes on as if nothing had been, stale files are named, and no
// bytes do harm.
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <fstream>

#include "tests/guests/linux/kernel_fixture.h"

namespace stasis::linux_guest {
namespace {

class StateTest : public KernelTest {
 protected:
  // One of everything.
  void fill() {
    host_file("data", "0123456789");
    file = open((folder / "data").string(), O_RDONLY);
    read(file, 4);
    call(SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE, static_cast<std::uint64_t>(file), 0});
    call(SYS_mkdir, {text("/tmp/d"), 0700});
    temporary = open("/tmp/d/f", O_CREAT | O_RDWR);
    write(temporary, "temporary");
    call(SYS_symlink, {text("f"), text("/tmp/d/l")});
    unlinked = open("/tmp/gone", O_CREAT | O_RDWR);
    write(unlinked, "unlinked");
    call(SYS_unlink, {text("/tmp/gone")});
    copy = call(SYS_dup, {static_cast<std::uint64_t>(unlinked)});
    const std::uint64_t two = room(8);
    call(SYS_pipe2, {two, 0});
    pipe = get<std::array<int, 2>>(two);
    write(pipe[1], "in the pipe");
    event = call(SYS_eventfd2, {5, 0});
    folder_fd = open("/tmp/d", O_RDONLY | O_DIRECTORY);
    maps = open("/proc/self/maps", O_RDONLY);
    zero = open("/dev/zero", O_RDONLY);
    device = open("/dev/stasis", O_RDWR);
    call(SYS_chdir, {text("/tmp/d")});
    post("request");
    read(device, 3);
    write(device, "response so far");
  }
  SysResult file = 0, temporary = 0, unlinked = 0, copy = 0, event = 0, folder_fd = 0, maps = 0,
            zero = 0, device = 0;
  std::array<int, 2> pipe = {};
};

TEST_F(StateTest, EveryKindOfFileGoesOnWhereItWas) {
  fill();
  const std::string maps_before = read(maps, 10);
  save_and_load();
  EXPECT_EQ(read(file), "456789");
  call(SYS_lseek, {static_cast<std::uint64_t>(copy), 0, SEEK_SET});
  EXPECT_EQ(read(unlinked), "unlinked") << "copies share their offset";
  EXPECT_EQ(read(pipe[0]), "in the pipe");
  EXPECT_EQ(read(event, 8), std::string("\5\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(read(zero, 1), std::string(1, '\0'));
  EXPECT_EQ(read(open("l", O_RDONLY)), "temporary") << "the working directory, a link, a file";
  EXPECT_EQ(write(temporary, " file"), 5);
  EXPECT_EQ(read(open("/tmp/d/f", O_RDONLY)), "temporary file");
  const std::uint64_t to = room(64);
  ASSERT_EQ(trap(SYS_read, {static_cast<std::uint64_t>(device), to, 64}), AfterTrap::kWait);
  EXPECT_EQ(response(), "response so far");
}

TEST_F(StateTest, AMappedFileIsFoundAgainByItsId) {
  fill();
  const std::uint64_t id = memory.last_request().file->snapshot_id();
  ASSERT_NE(kernel->mapped_file(id), nullptr);
  const auto state = save();
  call(SYS_close, {static_cast<std::uint64_t>(file)});
  ASSERT_TRUE(load(state).has_value());
  const auto mapped = kernel->mapped_file(id);
  ASSERT_NE(mapped, nullptr);
  std::array<std::byte, 4> bytes{};
  EXPECT_EQ(mapped->read_at(2, bytes), 4);
  EXPECT_EQ(bytes[0], std::byte{'2'});
  EXPECT_EQ(kernel->mapped_file(id + 1), nullptr);
}

TEST_F(StateTest, AStaleFileIsRefusedByNameFieldAndValues) {
  fill();
  const auto state = save();
  host_file("data", "0123456789x");
  auto refused = load(state);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::kMismatch);
  EXPECT_NE(refused.error().message.find((folder / "data").string()), std::string::npos);
  EXPECT_NE(refused.error().message.find("size 11 instead of 10"), std::string::npos)
      << refused.error().message;
  ASSERT_TRUE(load(state, Kernel::StaleFiles::kAccept).has_value());
  EXPECT_EQ(read(file), "456789x");
}

TEST_F(StateTest, ChangedContentOfTheSameSizeAndTimeIsFoundByItsHash) {
  fill();
  const auto time = std::filesystem::last_write_time(folder / "data");
  const auto state = save();
  host_file("data", "0123456780");
  EXPECT_NE(load(state).error().message.find("modification time"), std::string::npos);
  std::filesystem::last_write_time(folder / "data", time);
  EXPECT_NE(load(state).error().message.find("content hash"), std::string::npos);
  std::filesystem::remove(folder / "data");
  EXPECT_FALSE(load(state, Kernel::StaleFiles::kAccept).has_value())
      << "there is nothing to accept";
}

TEST_F(StateTest, AFileThatIsNoLongerAllowedIsNotOpened) {
  fill();
  const auto state = save();
  config.allow_read = {};
  const auto refused = load(state);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("not on the allow-list"), std::string::npos);
}

TEST_F(StateTest, MonotonicTimeStandsStillWhileRealTimeGoesOn) {
  const auto at = value(timespec{});
  clock.now_ns += 7'000'000'000;
  call(SYS_clock_gettime, {CLOCK_MONOTONIC, at});
  EXPECT_EQ(get<timespec>(at).tv_sec, 7);
  const auto state = save();
  clock.now_ns += 100'000'000'000;
  ASSERT_TRUE(load(state).has_value());
  call(SYS_clock_gettime, {CLOCK_MONOTONIC, at});
  EXPECT_EQ(get<timespec>(at).tv_sec, 7);
  call(SYS_clock_gettime, {CLOCK_REALTIME, at});
  EXPECT_EQ(get<timespec>(at).tv_sec, 1'700'000'000 + 5 + 107);
}

TEST_F(StateTest, SleepersFutexesAndTimersKeepWhatWasLeftOfTheirTime) {
  const auto fd = static_cast<std::uint64_t>(call(SYS_timerfd_create, {CLOCK_MONOTONIC, 0}));
  const itimerspec timer{{0, 0}, {30, 0}};
  call(SYS_timerfd_settime, {fd, 0, value(timer), 0});
  const auto word = value(std::uint32_t{1});
  ASSERT_EQ(trap(SYS_futex, {word, FUTEX_WAIT, 1, value(timespec{10, 0})}), AfterTrap::kWait);
  clock.now_ns += 4'000'000'000;
  const auto state = save();
  clock.now_ns += 1'000'000'000'000;
  ASSERT_TRUE(load(state).has_value());
  EXPECT_EQ(kernel->wake(cpu), AfterTrap::kWait);
  EXPECT_EQ(kernel->deadline(), clock.now_ns + 6'000'000'000);
  clock.now_ns += 6'000'000'000;
  ASSERT_EQ(kernel->wake(cpu), AfterTrap::kContinue);
  EXPECT_EQ(result(), -ETIMEDOUT);
}

TEST_F(StateTest, ThreadsThatAreNotOnTheCpuAreInTheState) {
  const std::uint64_t stack = room(4096) + 4096;
  const auto word = value(std::uint32_t{1});
  call(SYS_clone, {CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_SETTLS, stack, 0, 0, 0x123000});
  ASSERT_EQ(trap(SYS_futex, {word, FUTEX_WAIT, 1, 0}), AfterTrap::kContinue);
  ASSERT_EQ(cpu.general().rsp, stack);
  const std::uint64_t main_stack = 0x1000'0000 + (1U << 20U) - 64;
  save_and_load();
  EXPECT_EQ(call(SYS_futex, {word, FUTEX_WAKE, 1}), 1);
  call(SYS_sched_yield);
  EXPECT_EQ(cpu.general().rsp, main_stack);
  EXPECT_EQ(result(), 0);
  EXPECT_EQ(cpu.fs_base(), 0U);
}

TEST_F(StateTest, EntropyIsDrawnAnewAfterALoad) {
  const auto state = save();
  const std::uint64_t first = room(16);
  call(SYS_getrandom, {first, 16, 0});
  config.random = [](std::span<std::byte> out) { std::ranges::fill(out, std::byte{0x77}); };
  ASSERT_TRUE(load(state).has_value());
  const std::uint64_t second = room(16);
  call(SYS_getrandom, {second, 16, 0});
  EXPECT_EQ(get<std::uint8_t>(first), 0x5a);
  EXPECT_EQ(get<std::uint8_t>(second), 0x77);
}

TEST_F(StateTest, ATmpfsThatDoesNotFitIsRefusedAndNothingChanges) {
  fill();
  const std::uint64_t block = room(65536);
  call(SYS_write, {static_cast<std::uint64_t>(temporary), block, 65536});
  const auto state = save();
  config.tmpfs_bytes_max = 32768;
  const auto refused = load(state);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::kMismatch);
  EXPECT_EQ(open("/tmp/d/f", O_RDONLY), -ENOENT) << "still the empty one";
}

TEST_F(StateTest, AnEndedProcessCannotBeSaved) {
  trap(SYS_exit_group, {0});
  EXPECT_EQ(kernel->save().error().code, Errc::kInvalidArgument);
}

TEST_F(StateTest, TruncatedAndDamagedBytesAreRefusedOrHarmless) {
  fill();
  const auto state = save();
  for (std::size_t size = 0; size < state.size(); size += 7) {
    const auto loaded = load(std::span(state).first(size));
    ASSERT_FALSE(loaded.has_value()) << size;
  }
  for (std::size_t at = 0; at < state.size(); at += 3) {
    auto damaged = state;
    damaged[at] ^= std::byte{static_cast<unsigned char>(1U << (at % 8))};
    make_kernel();
    if (kernel->load(damaged, Kernel::StaleFiles::kAccept).has_value()) {
      // Whatever was accepted can be run, saved and loaded again.
      static_cast<void>(kernel->wake(cpu));
      static_cast<void>(trap(SYS_getpid));
      static_cast<void>(kernel->deadline());
      static_cast<void>(kernel->save());
    }
  }
}

}  // namespace
}  // namespace stasis::linux_guest
