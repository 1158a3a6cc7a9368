// The file system that lives in the VM.
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guests/linux/vfs/tmpfs_inode.h"
#include "tests/guests/linux/kernel_fixture.h"

namespace stasis::linux_guest {
namespace {

class TmpfsTest : public KernelTest {
 protected:
  SysResult make(std::string_view path, std::string_view content) {
    const SysResult fd = open(path, O_CREAT | O_RDWR | O_TRUNC);
    EXPECT_GE(fd, 0) << path;
    EXPECT_EQ(write(fd, content), static_cast<SysResult>(content.size()));
    return fd;
  }
  std::string content(std::string_view path) {
    const SysResult fd = open(path, O_RDONLY);
    if (fd < 0) {
      return "error " + std::to_string(-fd);
    }
    std::string bytes = read(fd);
    call(SYS_close, {static_cast<std::uint64_t>(fd)});
    return bytes;
  }
  SysResult rename(std::string_view from, std::string_view to) {
    return call(SYS_rename, {text(from), text(to)});
  }
  SysResult mkdir(std::string_view path) { return call(SYS_mkdir, {text(path), 0755}); }
};

TEST_F(TmpfsTest, AFileIsCreatedWrittenAndReadBack) {
  make("/tmp/a", "hello");
  EXPECT_EQ(content("/tmp/a"), "hello");
  EXPECT_EQ(open("/tmp/a", O_CREAT | O_EXCL | O_WRONLY), -EEXIST);
  EXPECT_EQ(open("/tmp/b", O_RDONLY), -ENOENT);
  EXPECT_EQ(open("/tmp/a/b", O_RDONLY), -ENOTDIR);
  EXPECT_EQ(open("/tmp/a/", O_RDONLY), -ENOTDIR);
  EXPECT_EQ(open("/tmp/new/", O_CREAT | O_WRONLY), -EISDIR);
  EXPECT_EQ(open("/tmp", O_WRONLY), -EISDIR);
}

TEST_F(TmpfsTest, AppendingGoesToTheEndWhereverTheOffsetIs) {
  make("/tmp/a", "12345");
  const SysResult fd = open("/tmp/a", O_WRONLY | O_APPEND);
  call(SYS_lseek, {static_cast<std::uint64_t>(fd), 0, SEEK_SET});
  write(fd, "67");
  EXPECT_EQ(content("/tmp/a"), "1234567");
}

TEST_F(TmpfsTest, HolesReadAsZerosAndTakeNoSpace) {
  const SysResult fd = make("/tmp/sparse", "x");
  EXPECT_EQ(call(SYS_pwrite64, {static_cast<std::uint64_t>(fd), text("y"), 1, 1ULL << 30U}), 1);
  const std::uint64_t to = room(sizeof(struct stat));
  ASSERT_EQ(call(SYS_fstat, {static_cast<std::uint64_t>(fd), to}), 0);
  const auto stat = get<struct stat>(to);
  EXPECT_EQ(stat.st_size, (1LL << 30) + 1);
  EXPECT_EQ(stat.st_blocks, 16);
  const std::uint64_t zeros = room(8);
  EXPECT_EQ(call(SYS_pread64, {static_cast<std::uint64_t>(fd), zeros, 4, 100000}), 4);
  EXPECT_EQ(get<std::uint32_t>(zeros), 0U);
}

TEST_F(TmpfsTest, ShrinkingForgetsWhatWasBeyond) {
  const SysResult fd = make("/tmp/a", "abcdef");
  EXPECT_EQ(call(SYS_ftruncate, {static_cast<std::uint64_t>(fd), 2}), 0);
  EXPECT_EQ(call(SYS_ftruncate, {static_cast<std::uint64_t>(fd), 5}), 0);
  EXPECT_EQ(content("/tmp/a"), std::string("ab\0\0\0", 5));
  EXPECT_EQ(call(SYS_ftruncate, {static_cast<std::uint64_t>(fd), ~0ULL}), -EINVAL);
}

TEST_F(TmpfsTest, TheSpaceIsLimitedAndComesBack) {
  const SysResult fd = make("/tmp/big", "");
  const std::uint64_t block = room(65536);
  SysResult got = 0;
  std::uint64_t written = 0;
  for (int i = 0; i < 64 && got >= 0; ++i) {
    got = call(SYS_write, {static_cast<std::uint64_t>(fd), block, 65536});
    written += got > 0 ? static_cast<std::uint64_t>(got) : 0;
  }
  EXPECT_EQ(got, -ENOSPC);
  EXPECT_GT(written, 900'000U);
  EXPECT_EQ(mkdir("/tmp/folder"), 0) << "less than a page may still be free";
  EXPECT_EQ(call(SYS_unlink, {text("/tmp/big")}), 0);
  EXPECT_EQ(write(fd, "x"), -ENOSPC) << "the open file still has its pages";
  call(SYS_close, {static_cast<std::uint64_t>(fd)});
  make("/tmp/again", "fits");
}

TEST_F(TmpfsTest, AnUnlinkedFileLivesAsLongAsItIsOpen) {
  const SysResult fd = make("/tmp/gone", "still here");
  EXPECT_EQ(call(SYS_unlink, {text("/tmp/gone")}), 0);
  EXPECT_EQ(content("/tmp/gone"), "error 2");
  call(SYS_lseek, {static_cast<std::uint64_t>(fd), 0, SEEK_SET});
  EXPECT_EQ(read(fd), "still here");
}

TEST_F(TmpfsTest, RenamingReplacesAsTheManualSays) {
  make("/tmp/a", "A");
  make("/tmp/b", "B");
  mkdir("/tmp/d");
  mkdir("/tmp/d/inner");
  EXPECT_EQ(rename("/tmp/a", "/tmp/b"), 0);
  EXPECT_EQ(content("/tmp/b"), "A");
  EXPECT_EQ(content("/tmp/a"), "error 2");
  EXPECT_EQ(rename("/tmp/b", "/tmp/d"), -EISDIR);
  EXPECT_EQ(rename("/tmp/d", "/tmp/b"), -ENOTDIR);
  EXPECT_EQ(rename("/tmp/d", "/tmp/d/inner/x"), -EINVAL) << "a folder into itself";
  mkdir("/tmp/full");
  make("/tmp/full/x", "x");
  EXPECT_EQ(rename("/tmp/d", "/tmp/full"), -ENOTEMPTY);
  EXPECT_EQ(rename("/tmp/b", "/run/b"), -EXDEV);
  EXPECT_EQ(rename("/tmp/nothing", "/tmp/b"), -ENOENT);
  EXPECT_EQ(call(SYS_renameat2, {static_cast<std::uint64_t>(AT_FDCWD), text("/tmp/b"),
                                 static_cast<std::uint64_t>(AT_FDCWD), text("/tmp/full/x"), 1}),
            -EEXIST);
  EXPECT_EQ(rename("/tmp/full", "/tmp/d/inner/moved"), 0);
  EXPECT_EQ(content("/tmp/d/inner/moved/x"), "x");
  EXPECT_EQ(content("/tmp/d/inner/moved/../../inner/moved/x"), "x");
}

TEST_F(TmpfsTest, FoldersAreRemovedWhenTheyAreEmpty) {
  mkdir("/tmp/d");
  make("/tmp/d/x", "");
  EXPECT_EQ(call(SYS_rmdir, {text("/tmp/d")}), -ENOTEMPTY);
  EXPECT_EQ(call(SYS_unlink, {text("/tmp/d")}), -EISDIR);
  EXPECT_EQ(call(SYS_rmdir, {text("/tmp/d/x")}), -ENOTDIR);
  const SysResult fd = open("/tmp/d", O_RDONLY | O_DIRECTORY);
  EXPECT_EQ(call(SYS_unlink, {text("/tmp/d/x")}), 0);
  EXPECT_EQ(call(SYS_rmdir, {text("/tmp/d")}), 0);
  EXPECT_EQ(call(SYS_mkdirat, {static_cast<std::uint64_t>(fd), text("late"), 0755}), -ENOENT);
  EXPECT_EQ(mkdir("/tmp"), -EEXIST);
  EXPECT_EQ(call(SYS_rmdir, {text("/tmp")}), -EROFS);
}

TEST_F(TmpfsTest, LinksOfBothKindsLeadToTheFile) {
  make("/tmp/a", "A");
  EXPECT_EQ(call(SYS_link, {text("/tmp/a"), text("/tmp/hard")}), 0);
  EXPECT_EQ(call(SYS_symlink, {text("a"), text("/tmp/soft")}), 0);
  EXPECT_EQ(call(SYS_symlink, {text(secret.string()), text("/tmp/escape")}), 0);
  EXPECT_EQ(call(SYS_link, {text("/tmp"), text("/tmp/folder")}), -EPERM);
  EXPECT_EQ(content("/tmp/soft"), "A");
  EXPECT_EQ(content("/tmp/escape"), "error 2");
  EXPECT_EQ(call(SYS_unlink, {text("/tmp/a")}), 0);
  EXPECT_EQ(content("/tmp/hard"), "A");
  EXPECT_EQ(content("/tmp/soft"), "error 2");
}

TEST_F(TmpfsTest, FilesWithoutANameAreFiles) {
  const SysResult fd = open("/tmp", O_TMPFILE | O_RDWR);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(write(fd, "anonymous"), 9);
  const auto memfd = call(SYS_memfd_create, {text("name"), MFD_CLOEXEC});
  EXPECT_EQ(write(memfd, "memory"), 6);
  call(SYS_lseek, {static_cast<std::uint64_t>(memfd), 0, SEEK_SET});
  EXPECT_EQ(read(memfd), "memory");
}

TEST_F(TmpfsTest, TheDepthOfFoldersIsNoDangerToTheHost) {
  // Deeper than any recursion of ours could go; by chdir, as no path reaches that far.
  int depth = 0;
  ASSERT_EQ(call(SYS_chdir, {text("/tmp")}), 0);
  for (SysResult made = 0; made == 0; ++depth) {
    const std::uint64_t name = 0x1000'0000;
    memory.write({name}, std::as_bytes(std::span("d", 2)));
    made = call(SYS_mkdir, {name, 0755});
    call(SYS_chdir, {name});
  }
  EXPECT_GT(depth, 900) << "the space ends it";
  kernel.reset();
}

TEST_F(TmpfsTest, AFileIsMappedPrivatelyOrSharedAsItsDescriptorAllows) {
  const auto fd = static_cast<std::uint64_t>(make("/tmp/a", "mapped"));
  for (const std::uint64_t sharing : {std::uint64_t{MAP_PRIVATE}, std::uint64_t{MAP_SHARED}}) {
    const SysResult at = call(SYS_mmap, {0, 4096, PROT_READ, sharing, fd, 0});
    EXPECT_EQ(get_text(static_cast<std::uint64_t>(at), 6), "mapped");
  }
  const auto reader = static_cast<std::uint64_t>(open("/tmp/a", O_RDONLY));
  constexpr std::uint64_t kReadWrite = PROT_READ | PROT_WRITE;
  EXPECT_EQ(call(SYS_mmap, {0, 4096, kReadWrite, MAP_SHARED, reader, 0}), -EACCES);
  EXPECT_GT(call(SYS_mmap, {0, 4096, kReadWrite, MAP_PRIVATE, reader, 0}), 0);
}

// What the memory of a process has of a file.
class InMemory final : public SharedPages {
 public:
  [[nodiscard]] std::span<const std::byte> view(std::uint64_t index) const override {
    return index == page ? std::span<const std::byte>(bytes) : std::span<const std::byte>();
  }
  [[nodiscard]] std::span<std::byte> to_write(std::uint64_t index) override {
    return index == page ? std::span(bytes) : std::span<std::byte>();
  }
  void zero(std::uint64_t begin, std::uint64_t end) override { zeroed = {begin, end}; }
  std::uint64_t page = 1;
  std::array<std::byte, kPageBytes> bytes = {};
  std::pair<std::uint64_t, std::uint64_t> zeroed;
};

TEST(TmpfsInodeTest, WhatIsMappedSharedIsReadAndWrittenInTheMemoryOfTheProcess) {
  const ManualClock clock;
  const auto space = std::make_shared<TmpfsSpace>(std::uint64_t{1} << 20U, clock);
  const InodePointer inode = TmpfsInode::make(space, S_IFREG | 0600U);
  ASSERT_EQ(inode->truncate(3 * kPageBytes), 0);
  ASSERT_TRUE(inode->reserve_page(1));
  InMemory memory;
  memory.bytes[5] = std::byte{7};
  inode->share(&memory);
  std::array<std::byte, 2> two = {};
  EXPECT_EQ(inode->read(kPageBytes + 4, two), 2);
  EXPECT_EQ(two[1], std::byte{7});
  EXPECT_EQ(inode->write(2 * kPageBytes - 1, std::array{std::byte{8}, std::byte{9}}), 2);
  EXPECT_EQ(memory.bytes.back(), std::byte{8});
  inode->punch(kPageBytes, kPageBytes);
  EXPECT_EQ(memory.zeroed, std::pair(kPageBytes, 2 * kPageBytes));
  inode->put_back(1, memory.bytes);
  inode->share(nullptr);
  EXPECT_EQ(inode->read(kPageBytes + 4, two), 2);
  EXPECT_EQ(two[1], std::byte{7});
  const std::uint64_t used = space->bytes_used();
  inode->put_back(3, memory.bytes);
  EXPECT_EQ(space->bytes_used(), used) << "beyond the end there is nothing to keep";
}

}  // namespace
}  // namespace stasis::linux_guest
