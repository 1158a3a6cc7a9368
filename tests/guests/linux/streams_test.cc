// Pipes, sockets, eventfd, timerfd, poll, select and epoll; descriptors.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

#include "guests/linux/signals/signal_set.h"
#include "tests/guests/linux/kernel_fixture.h"

namespace stasis::linux_guest {
namespace {

class StreamsTest : public KernelTest {
 protected:
  struct Two {
    std::uint64_t read_end, write_end;
  };
  Two pipe(int flags = 0) {
    const std::uint64_t to = room(8);
    EXPECT_EQ(call(SYS_pipe2, {to, static_cast<std::uint64_t>(flags)}), 0);
    const auto both = get<std::array<int, 2>>(to);
    return {static_cast<std::uint64_t>(both[0]), static_cast<std::uint64_t>(both[1])};
  }
  std::int16_t poll_now(std::uint64_t fd, std::int16_t events) {
    const auto at = value(pollfd{static_cast<int>(fd), events, 0});
    EXPECT_GE(call(SYS_poll, {at, 1, 0}), 0);
    return get<pollfd>(at).revents;
  }
};

TEST_F(StreamsTest, APipeCarriesBytesInOrderAndEndsWithItsWriter) {
  const auto [in, out] = pipe();
  EXPECT_EQ(write(static_cast<SysResult>(out), "hello"), 5);
  EXPECT_EQ(poll_now(in, POLLIN), POLLIN);
  const auto count = value(0);
  EXPECT_EQ(call(SYS_ioctl, {in, FIONREAD, count}), 0);
  EXPECT_EQ(get<int>(count), 5);
  EXPECT_EQ(read(static_cast<SysResult>(in), 3), "hel");
  EXPECT_EQ(read(static_cast<SysResult>(in)), "lo");
  EXPECT_EQ(call(SYS_lseek, {in, 0, 0}), -ESPIPE);
  EXPECT_EQ(call(SYS_close, {out}), 0);
  EXPECT_EQ(read(static_cast<SysResult>(in)), "");
  EXPECT_EQ(poll_now(in, POLLIN), POLLHUP);
}

TEST_F(StreamsTest, WritingToAPipeWithoutAReaderIsEpipeAndASignal) {
  const auto [in, out] = pipe();
  EXPECT_EQ(call(SYS_close, {in}), 0);
  const SignalAction ignore{1, 0, 0, 0};
  EXPECT_EQ(call(SYS_rt_sigaction, {SIGPIPE, value(ignore), 0, 8}), 0);
  EXPECT_EQ(write(static_cast<SysResult>(out), "x"), -EPIPE);
  EXPECT_EQ(call(SYS_rt_sigaction, {SIGPIPE, value(SignalAction{}), 0, 8}), 0);
  EXPECT_EQ(trap(SYS_write, {out, text("x"), 1}), AfterTrap::kExited);
  EXPECT_EQ(kernel->exit_status().signal, SIGPIPE);
}

TEST_F(StreamsTest, AFullPipeBlocksAndANonblockingOneDoesNot) {
  const auto [in, out] = pipe(O_NONBLOCK);
  const std::uint64_t block = room(65536);
  EXPECT_EQ(call(SYS_write, {out, block, 65536}), 65536);
  EXPECT_EQ(call(SYS_write, {out, block, 1}), -EAGAIN);
  EXPECT_EQ(poll_now(out, POLLOUT), 0);
  EXPECT_EQ(read(static_cast<SysResult>(in), 4096).size(), 4096U);
  EXPECT_EQ(poll_now(out, POLLOUT), POLLOUT);
  EXPECT_EQ(call(SYS_fcntl, {out, F_SETFL, 0}), 0);
  ASSERT_EQ(trap(SYS_write, {out, block, 8192}), AfterTrap::kWait) << "half of it went in";
  EXPECT_EQ(kernel->wake(cpu), AfterTrap::kWait);
}

TEST_F(StreamsTest, VectorsAreGatheredAndScattered) {
  const auto [in, out] = pipe();
  const std::array<iovec, 2> parts = {
      {{reinterpret_cast<void*>(text("abc")), 3}, {reinterpret_cast<void*>(text("defg")), 4}}};
  EXPECT_EQ(call(SYS_writev, {out, value(parts), 2}), 7);
  const std::uint64_t first = room(2);
  const std::uint64_t second = room(16);
  const std::array<iovec, 2> rooms = {
      {{reinterpret_cast<void*>(first), 2}, {reinterpret_cast<void*>(second), 16}}};
  EXPECT_EQ(call(SYS_readv, {in, value(rooms), 2}), 7);
  EXPECT_EQ(get_text(first, 2), "ab");
  EXPECT_EQ(get_text(second, 5), "cdefg");
  EXPECT_EQ(call(SYS_writev, {out, value(parts), 1025}), -EINVAL);
  EXPECT_EQ(call(SYS_writev, {out, 0x10, 1}), -EFAULT);
}

TEST_F(StreamsTest, AnEventfdCountsAndASemaphoreCountsDown) {
  const auto fd = call(SYS_eventfd2, {3, EFD_NONBLOCK});
  EXPECT_EQ(call(SYS_write, {static_cast<std::uint64_t>(fd), value(std::uint64_t{4}), 8}), 8);
  const std::uint64_t to = room(8);
  EXPECT_EQ(call(SYS_read, {static_cast<std::uint64_t>(fd), to, 8}), 8);
  EXPECT_EQ(get<std::uint64_t>(to), 7U);
  EXPECT_EQ(call(SYS_read, {static_cast<std::uint64_t>(fd), to, 8}), -EAGAIN);
  EXPECT_EQ(call(SYS_read, {static_cast<std::uint64_t>(fd), to, 7}), -EINVAL);
  const auto semaphore = call(SYS_eventfd2, {2, EFD_SEMAPHORE});
  EXPECT_EQ(call(SYS_read, {static_cast<std::uint64_t>(semaphore), to, 8}), 8);
  EXPECT_EQ(get<std::uint64_t>(to), 1U);
}

TEST_F(StreamsTest, ATimerExpiresAsOftenAsItsTimeHasPassed) {
  const auto fd = static_cast<std::uint64_t>(call(SYS_timerfd_create, {CLOCK_MONOTONIC, 0}));
  const itimerspec wanted{{0, 10'000'000}, {0, 20'000'000}};
  EXPECT_EQ(call(SYS_timerfd_settime, {fd, 0, value(wanted), 0}), 0);
  EXPECT_EQ(poll_now(fd, POLLIN), 0);
  const std::uint64_t to = room(8);
  ASSERT_EQ(trap(SYS_read, {fd, to, 8}), AfterTrap::kWait);
  EXPECT_EQ(kernel->deadline(), clock.now_ns + 20'000'000);
  clock.now_ns += 45'000'000;
  ASSERT_EQ(kernel->wake(cpu), AfterTrap::kContinue);
  EXPECT_EQ(get<std::uint64_t>(to), 3U) << "at 20, 30 and 40 ms";
  EXPECT_EQ(call(SYS_timerfd_gettime, {fd, value(wanted)}), 0);
}

TEST_F(StreamsTest, APollWaitsForItsTimeoutAndNoLonger) {
  const auto [in, out] = pipe();
  const auto at = value(pollfd{static_cast<int>(in), POLLIN, 0});
  ASSERT_EQ(trap(SYS_poll, {at, 1, 50}), AfterTrap::kWait);
  EXPECT_EQ(kernel->deadline(), clock.now_ns + 50'000'000);
  clock.now_ns += 49'000'000;
  EXPECT_EQ(kernel->wake(cpu), AfterTrap::kWait);
  clock.now_ns += 2'000'000;
  EXPECT_EQ(kernel->wake(cpu), AfterTrap::kContinue);
  EXPECT_EQ(result(), 0);
}

TEST_F(StreamsTest, SelectTellsWhichOfThemAreReady) {
  const auto [in, out] = pipe();
  const std::uint64_t bits = (1ULL << in) | (1ULL << out);
  const auto readers = value(bits);
  const auto writers = value(bits);
  EXPECT_EQ(call(SYS_select, {8, readers, writers, 0, value(timeval{0, 0})}), 1);
  EXPECT_EQ(get<std::uint64_t>(readers), 0U);
  EXPECT_EQ(get<std::uint64_t>(writers), 1ULL << out);
  EXPECT_EQ(call(SYS_select, {64, value(std::uint64_t{1} << 40U), 0, 0, 0}), -EBADF);
}

TEST_F(StreamsTest, AnEdgeIsReportedOnceAndALevelAsLongAsItLasts) {
  const auto [in, out] = pipe();
  write(static_cast<SysResult>(out), "x");
  const auto level = static_cast<std::uint64_t>(call(SYS_epoll_create1, {0}));
  const auto edge = static_cast<std::uint64_t>(call(SYS_epoll_create1, {0}));
  epoll_event event{};
  event.events = EPOLLIN;
  EXPECT_EQ(call(SYS_epoll_ctl, {level, EPOLL_CTL_ADD, in, value(event)}), 0);
  EXPECT_EQ(call(SYS_epoll_ctl, {level, EPOLL_CTL_ADD, in, value(event)}), -EEXIST);
  event.events = EPOLLIN | EPOLLET;
  EXPECT_EQ(call(SYS_epoll_ctl, {edge, EPOLL_CTL_ADD, in, value(event)}), 0);
  const std::uint64_t to = room(64);
  EXPECT_EQ(call(SYS_epoll_wait, {level, to, 4, 0}), 1);
  EXPECT_EQ(call(SYS_epoll_wait, {level, to, 4, 0}), 1);
  EXPECT_EQ(call(SYS_epoll_wait, {edge, to, 4, 0}), 1);
  EXPECT_EQ(call(SYS_epoll_wait, {edge, to, 4, 0}), 0);
  write(static_cast<SysResult>(out), "y");
  EXPECT_EQ(call(SYS_epoll_wait, {edge, to, 4, 0}), 1);
  EXPECT_EQ(call(SYS_epoll_ctl, {level, EPOLL_CTL_DEL, in, 0}), 0);
  EXPECT_EQ(call(SYS_epoll_wait, {level, to, 4, 0}), 0);
}

TEST_F(StreamsTest, EpollsDoNotWatchEachOtherInCircles) {
  const auto a = static_cast<std::uint64_t>(call(SYS_epoll_create1, {0}));
  const auto b = static_cast<std::uint64_t>(call(SYS_epoll_create1, {0}));
  const auto event = value(epoll_event{EPOLLIN, {}});
  EXPECT_EQ(call(SYS_epoll_ctl, {a, EPOLL_CTL_ADD, a, event}), -EINVAL);
  EXPECT_EQ(call(SYS_epoll_ctl, {a, EPOLL_CTL_ADD, b, event}), 0);
  EXPECT_EQ(call(SYS_epoll_ctl, {b, EPOLL_CTL_ADD, a, event}), -ELOOP);
}

TEST_F(StreamsTest, ASocketPairTalksBothWaysAndThereAreNoOtherSockets) {
  const std::uint64_t to = room(8);
  EXPECT_EQ(call(SYS_socketpair, {AF_UNIX, SOCK_STREAM, 0, to}), 0);
  const auto both = get<std::array<int, 2>>(to);
  EXPECT_EQ(write(both[0], "there"), 5);
  EXPECT_EQ(write(both[1], "back"), 4);
  EXPECT_EQ(read(both[1]), "there");
  EXPECT_EQ(read(both[0]), "back");
  EXPECT_EQ(call(SYS_shutdown, {static_cast<std::uint64_t>(both[0]), SHUT_WR}), 0);
  EXPECT_EQ(read(both[1]), "");
  EXPECT_EQ(call(SYS_socket, {AF_INET, SOCK_STREAM, 0}), -EAFNOSUPPORT);
}

TEST_F(StreamsTest, DescriptorsAreTheLowestFreeOnes) {
  EXPECT_EQ(call(SYS_dup, {1}), 3);
  EXPECT_EQ(call(SYS_fcntl, {1, F_DUPFD_CLOEXEC, 10}), 10);
  EXPECT_EQ(call(SYS_fcntl, {10, F_GETFD, 0}), FD_CLOEXEC);
  EXPECT_EQ(call(SYS_dup2, {1, 20}), 20);
  EXPECT_EQ(call(SYS_dup3, {1, 1, 0}), -EINVAL);
  EXPECT_EQ(call(SYS_dup2, {1, 100000}), -EBADF);
  EXPECT_EQ(write(20, "out"), 3);
  EXPECT_EQ(output, "1:out;");
  EXPECT_EQ(call(SYS_close_range, {3, 15, 0}), 0);
  EXPECT_EQ(call(SYS_fcntl, {10, F_GETFD, 0}), -EBADF);
  EXPECT_EQ(call(SYS_dup, {1}), 3);
  EXPECT_EQ(call(SYS_ioctl, {1, TCGETS, 0}), -ENOTTY);
  EXPECT_EQ(read(0), "") << "standard input is at its end";
}

}  // namespace
}  // namespace stasis::linux_guest
