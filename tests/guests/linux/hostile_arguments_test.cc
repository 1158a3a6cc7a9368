// Every system call with every pointer and length at, across and beyond the edges of the memory.
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include <limits>

#include "guests/linux/kernel/call.h"
#include "guests/linux/kernel/user_access.h"
#include "tests/guests/linux/kernel_fixture.h"

namespace stasis::linux_guest {
namespace {

class HostileArgumentsTest : public KernelTest {
 protected:
  HostileArgumentsTest() {
    const SysResult at =
        memory.map({UserAddress{0x2000'0000}, 3 * kPageBytes,
                    Protection::kRead | Protection::kWrite, MapRequest::Placement::kFixed});
    edge_ = static_cast<std::uint64_t>(at) + (3 * kPageBytes);
    memory.protect({edge_ - (3 * kPageBytes)}, kPageBytes, Protection::kRead);
  }
  std::uint64_t edge_ = 0;  // The first byte that is not mapped; the first page cannot be written.
};

TEST_F(HostileArgumentsTest, NoCallDoesMoreThanReturnWhateverItIsGiven) {
  const std::array<std::uint64_t, 14> values = {0,
                                                1,
                                                3,
                                                8,
                                                edge_ - 1,
                                                edge_ - 8,
                                                edge_ - kPageBytes,
                                                edge_ - (3 * kPageBytes),
                                                edge_,
                                                kUserSpaceEnd - 1,
                                                kUserSpaceEnd,
                                                0x8000'0000'0000'0000,
                                                ~std::uint64_t{0} - 7,
                                                ~std::uint64_t{0}};
  std::uint64_t random = 1;
  const auto next = [&] {
    random = (random * 6364136223846793005ULL) + 1442695040888963407ULL;
    return values[(random >> 33U) % values.size()];
  };
  for (const SyscallEntry& entry : syscall_table()) {
    for (int round = 0; round < 60; ++round) {
      const AfterTrap after = trap(entry.number, {next(), next(), next(), next(), next(), next()});
      if (after != AfterTrap::kContinue) {
        make_kernel();  // It waits, or has ended: both are answers.
      }
      cpu.general().rsp = 0x1000'0000 + (1U << 20U) - 64;
      cpu.general().rip = 0x40'1000;
    }
  }
}

TEST_F(HostileArgumentsTest, ResultsAreErrorsAtAndAcrossTheEdge) {
  const auto out = static_cast<std::uint64_t>(open("/tmp/f", O_CREAT | O_RDWR));
  ASSERT_EQ(call(SYS_write, {out, edge_ - 4, 4}), 4);
  EXPECT_EQ(call(SYS_write, {out, edge_ - 4, 8}), 4) << "what could be read was written";
  EXPECT_EQ(call(SYS_write, {out, edge_, 8}), -EFAULT);
  EXPECT_EQ(call(SYS_write, {out, ~0ULL - 3, 8}), -EFAULT);
  EXPECT_EQ(call(SYS_write, {out, edge_, ~0ULL}), -EINVAL);
  EXPECT_EQ(call(SYS_lseek, {out, 0, 0}), 0);
  EXPECT_EQ(call(SYS_read, {out, edge_ - 4, 8}), 4);
  EXPECT_EQ(call(SYS_read, {out, edge_ - (3 * kPageBytes), 4}), -EFAULT) << "read-only memory";
  EXPECT_EQ(
      call(SYS_newfstatat, {static_cast<std::uint64_t>(AT_FDCWD), text("/tmp"), edge_ - 8, 0}),
      -EFAULT);
  EXPECT_EQ(call(SYS_getrandom, {edge_ - 2, 8, 0}), 2);
  EXPECT_EQ(call(SYS_getrandom, {edge_, 8, 0}), -EFAULT);
  EXPECT_EQ(call(SYS_uname, {edge_ - 100}), -EFAULT);
  EXPECT_EQ(call(SYS_nanosleep, {edge_ - 8, 0}), -EFAULT);
}

TEST_F(HostileArgumentsTest, StringsEndAtTheEdgeOrAtTheirLimit) {
  const UserAccess user(memory);
  memory.write({edge_ - 3}, std::as_bytes(std::span("ab", 3)));
  EXPECT_EQ(*user.get_string({edge_ - 3}, 100), "ab") << "the last mapped bytes";
  memory.write({edge_ - 1}, std::as_bytes(std::span("c", 1)));
  EXPECT_EQ(user.get_string({edge_ - 3}, 100).error(), -EFAULT);
  EXPECT_EQ(user.get_string({edge_ - 3}, 3).error(), -ENAMETOOLONG);
  EXPECT_EQ(user.get_string({~std::uint64_t{0}}, 100).error(), -EFAULT);
  EXPECT_EQ(open(std::string(5000, 'x'), O_RDONLY), -ENAMETOOLONG);
  EXPECT_EQ(open("/tmp/" + std::string(256, 'x'), O_CREAT | O_RDWR), -ENAMETOOLONG);
}

TEST_F(HostileArgumentsTest, VectorsAreBoundedInNumberAndInSum) {
  const UserAccess user(memory);
  const std::array<std::uint64_t, 4> too_long = {0, 1ULL << 63U, 0, 1};
  EXPECT_EQ(user.get_vectors({value(too_long)}, 2).error(), -EINVAL);
  const std::array<std::uint64_t, 4> long_ones = {0, 0x7fff0000, 0, 0x7fff0000};
  auto vectors = user.get_vectors({value(long_ones)}, 2);
  ASSERT_TRUE(vectors.ok());
  EXPECT_EQ((*vectors)[0].size_bytes + (*vectors)[1].size_bytes, kTransferBytesMax);
  EXPECT_EQ(user.get_vectors({edge_ - 16}, 2).error(), -EFAULT);
  EXPECT_EQ(user.get_vectors({0}, 1025).error(), -EINVAL);
}

}  // namespace
}  // namespace stasis::linux_guest
