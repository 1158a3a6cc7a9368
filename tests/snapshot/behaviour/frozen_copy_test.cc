// A frozen copy keeps what was, disturbs nobody, and does not outlive its owner.
#include "snapshot/linux/frozen_copy.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): kill() is POSIX.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/must.h"

namespace stasis::snapshot::internal {
namespace {

std::byte at(const FrozenCopy& copy, const std::byte& place) {
  std::array<std::byte, 1> out{};
  must(copy.read(&place, out));
  return out[0];
}

TEST(FrozenCopy, HoldsWhatWasAndNotWhatCameLater) {
  std::vector<std::byte> bytes(1U << 20U, std::byte{1});
  const FrozenCopy first = must(FrozenCopy::take());
  bytes[5000] = std::byte{2};
  const FrozenCopy second = must(FrozenCopy::take());
  bytes[5000] = std::byte{3};
  EXPECT_EQ(at(first, bytes[5000]), std::byte{1});
  EXPECT_EQ(at(second, bytes[5000]), std::byte{2});
  std::vector<std::byte> all(bytes.size());
  must(first.read(bytes.data(), all));
  EXPECT_EQ(all, std::vector<std::byte>(bytes.size(), std::byte{1}));
}

TEST(FrozenCopy, EndsWithItsOwnerAndIsNobodysChild) {
  pid_t child = -1;
  {
    const FrozenCopy copy = must(FrozenCopy::take());
    child = copy.child();
    EXPECT_EQ(::kill(child, 0), 0);
    // Whoever waits for children of their own does not meet it.
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
  }
  EXPECT_EQ(::kill(child, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST(FrozenCopy, KeepsNoDescriptorOfItsOwnersOpen) {
  const FrozenCopy copy = must(FrozenCopy::take());
  // The child closes them when it first runs; nothing tells when that was.
  const std::string path = "/proc/" + std::to_string(copy.child()) + "/fd";
  for (std::size_t open = SIZE_MAX; open != 1;) {
    DIR* const directory = ::opendir(path.c_str());
    ASSERT_NE(directory, nullptr);
    open = 0;
    while (const dirent* const entry = ::readdir(directory)) {
      open += entry->d_name[0] == '.' ? 0U : 1U;
    }
    ::closedir(directory);
  }
}

// A process that is killed has no destructors; its end of the pipe closes all the same.
TEST(FrozenCopy, EndsWhenTheProcessIsKilled) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const pid_t owner = ::fork();
  if (owner == 0) {
    auto copy = FrozenCopy::take();
    const pid_t child = copy ? copy->child() : -1;
    (void)!::write(ends[1], &child, sizeof(child));
    ::kill(::getpid(), SIGKILL);
  }
  pid_t child = -1;
  ASSERT_EQ(::read(ends[0], &child, sizeof(child)), static_cast<ssize_t>(sizeof(child)));
  ASSERT_GT(child, 0);
  ASSERT_EQ(::waitpid(owner, nullptr, 0), owner);
  ::close(ends[0]);
  ::close(ends[1]);
  // Init reaps it, or it is dead and waits for that: it has no memory any more.
  const std::string path = "/proc/" + std::to_string(child) + "/statm";
  for (std::string text = "1"; !text.empty() && text[0] != '0';) {
    text.clear();
    const int fd = ::open(path.c_str(), O_RDONLY);
    if (fd >= 0) {
      std::array<char, 64> buffer{};
      const ssize_t got = ::read(fd, buffer.data(), buffer.size());
      text.assign(buffer.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
      ::close(fd);
    }
  }
}

}  // namespace
}  // namespace stasis::snapshot::internal
