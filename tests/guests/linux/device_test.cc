// /dev/stasis, as docs/linux-syscalls.md says.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>

#include "tests/guests/linux/kernel_fixture.h"

namespace stasis::linux_guest {
namespace {

class DeviceTest : public KernelTest {
 protected:
  // A read that must wait; wake() then gives what it has become.
  void read_waits(SysResult fd) {
    buffer_ = room(4096);
    ASSERT_EQ(trap(SYS_read, {static_cast<std::uint64_t>(fd), buffer_, 4096}), AfterTrap::kWait);
    EXPECT_TRUE(kernel->wants_request());
  }
  std::string woken() {
    EXPECT_EQ(kernel->wake(cpu), AfterTrap::kContinue);
    return result() < 0 ? "error " + std::to_string(-result())
                        : get_text(buffer_, static_cast<std::size_t>(result()));
  }
  std::uint64_t buffer_ = 0;
};

TEST_F(DeviceTest, TheFirstReadWaitsAndIsReady) {
  const SysResult fd = open("/dev/stasis", O_RDWR);
  EXPECT_FALSE(kernel->wants_request());
  read_waits(fd);
  EXPECT_EQ(kernel->deadline(), std::nullopt);
  EXPECT_EQ(kernel->wake(cpu), AfterTrap::kWait) << "nothing has come";
  post("{\"n\": 7}");
  EXPECT_FALSE(kernel->wants_request());
  EXPECT_EQ(woken(), "{\"n\": 7}\n");
  EXPECT_EQ(write(fd, "42\n"), 3);
  EXPECT_EQ(response(), "(none)") << "there may be more of it";
  read_waits(fd);
  EXPECT_EQ(response(), "42\n");
  post("second\n");
  EXPECT_EQ(woken(), "second\n") << "a line that is one already stays as it is";
}

TEST_F(DeviceTest, ARequestIsReadInPiecesAndThenAtItsEnd) {
  const SysResult fd = open("/dev/stasis", O_RDWR);
  post("abcdef");
  EXPECT_EQ(read(fd, 4), "abcd");
  EXPECT_EQ(read(fd, 4), "ef\n");
  EXPECT_EQ(read(fd, 4), "") << "reading to the end must find one";
  EXPECT_EQ(read(fd, 4), "");
  write(fd, "done");
  read_waits(fd);
}

TEST_F(DeviceTest, ClosingEndsAResponseThatWasWritten) {
  const SysResult in = open("/dev/stasis", O_RDONLY);
  post("x");
  read(in);
  const SysResult out = open("/dev/stasis", O_WRONLY | O_CREAT | O_TRUNC);
  write(out, "one ");
  write(out, "response");
  call(SYS_close, {static_cast<std::uint64_t>(in)});
  EXPECT_EQ(response(), "(none)");
  call(SYS_close, {static_cast<std::uint64_t>(out)});
  EXPECT_EQ(response(), "one response");
}

TEST_F(DeviceTest, OpeningToWriteAndClosingIsAnEmptyResponse) {
  const SysResult in = open("/dev/stasis", O_RDONLY);
  post("x");
  read(in);
  const SysResult out = open("/dev/stasis", O_WRONLY | O_TRUNC);
  call(SYS_close, {static_cast<std::uint64_t>(out)});
  EXPECT_EQ(response(), "");
}

TEST_F(DeviceTest, WritingBeforeReadingIsAnErrorThatIsReported) {
  const SysResult fd = open("/dev/stasis", O_RDWR);
  EXPECT_EQ(write(fd, "early"), -EPROTO);
  EXPECT_NE(kernel->exit_status().report.find("before a request was read"), std::string::npos);
  EXPECT_EQ(response(), "(none)");
}

TEST_F(DeviceTest, AResponseThatIsTooLargeIsForgottenAndAShorterOneCanFollow) {
  const SysResult fd = open("/dev/stasis", O_RDWR);
  post("x");
  read(fd);
  EXPECT_EQ(write(fd, std::string(900, 'a')), 900);
  EXPECT_EQ(write(fd, std::string(101, 'b')), -EFBIG);
  EXPECT_NE(kernel->exit_status().report.find("more than 1000 bytes"), std::string::npos);
  EXPECT_EQ(write(fd, "sorry"), 5);
  read_waits(fd);
  EXPECT_EQ(response(), "sorry");
}

TEST_F(DeviceTest, ItCanBePolled) {
  const SysResult fd = open("/dev/stasis", O_RDWR | O_NONBLOCK);
  EXPECT_EQ(read(fd), "error 11");
  const auto polled = value(pollfd{static_cast<int>(fd), POLLIN, 0});
  EXPECT_EQ(call(SYS_poll, {polled, 1, 0}), 0);
  ASSERT_EQ(trap(SYS_poll, {polled, 1, ~0ULL}), AfterTrap::kWait);
  EXPECT_TRUE(kernel->wants_request());
  post("x");
  ASSERT_EQ(kernel->wake(cpu), AfterTrap::kContinue);
  EXPECT_EQ(result(), 1);
  EXPECT_EQ(get<pollfd>(polled).revents, POLLIN);
}

TEST_F(DeviceTest, AnEpollThatWatchesItIsReadyWhenItWaits) {
  const auto fd = static_cast<std::uint64_t>(open("/dev/stasis", O_RDWR));
  const auto epoll = static_cast<std::uint64_t>(call(SYS_epoll_create1, {0}));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 99;
  EXPECT_EQ(call(SYS_epoll_ctl, {epoll, EPOLL_CTL_ADD, fd, value(event)}), 0);
  const std::uint64_t to = room(64);
  ASSERT_EQ(trap(SYS_epoll_wait, {epoll, to, 4, ~0ULL}), AfterTrap::kWait);
  EXPECT_TRUE(kernel->wants_request());
  save_and_load();
  post("x");
  ASSERT_EQ(kernel->wake(cpu), AfterTrap::kContinue);
  EXPECT_EQ(result(), 1);
  EXPECT_EQ(get<epoll_event>(to).data.u64, 99U);
}

TEST_F(DeviceTest, SoManyRequestsMayWait) {
  for (int i = 0; i < 16; ++i) {
    post("x");
  }
  const auto refused = kernel->post_request({});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::kAlreadyExists);
}

}  // namespace
}  // namespace stasis::linux_guest
