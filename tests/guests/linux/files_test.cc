// What a guest can see of the host, and what it cannot.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "guests/linux/vfs/open_beneath.h"
#include "tests/guests/linux/kernel_fixture.h"

namespace stasis::linux_guest {
namespace {

class FilesTest : public KernelTest {
 protected:
  std::string path(const std::string& name) { return (folder / name).string(); }
  // The names in a folder, sorted, as getdents64 gives them.
  std::vector<std::string> names(std::string_view folder_path) {
    const SysResult fd = open(folder_path, O_RDONLY | O_DIRECTORY);
    EXPECT_GE(fd, 0);
    std::vector<std::string> found;
    const std::uint64_t to = room(4096);
    for (;;) {
      const SysResult got = call(SYS_getdents64, {static_cast<std::uint64_t>(fd), to, 256});
      EXPECT_GE(got, 0);
      if (got <= 0) {
        break;
      }
      for (SysResult at = 0; at < got;) {
        const std::uint64_t record = to + static_cast<std::uint64_t>(at);
        found.emplace_back(get_text(record + 19, 60).c_str());
        at += get<std::uint16_t>(record + 16);
      }
    }
    call(SYS_close, {static_cast<std::uint64_t>(fd)});
    std::ranges::sort(found);
    return found;
  }
  SysResult stat_mode(std::string_view of, int flags = 0) {
    const std::uint64_t to = room(sizeof(struct stat));
    const SysResult wrong = call(SYS_newfstatat, {static_cast<std::uint64_t>(AT_FDCWD), text(of),
                                                  to, static_cast<std::uint64_t>(flags)});
    return wrong != 0 ? wrong : static_cast<SysResult>(get<struct stat>(to).st_mode);
  }
};

TEST_F(FilesTest, AFileOfTheAllowListIsReadAtItsOffset) {
  host_file("data", "0123456789");
  const SysResult fd = open(path("data"), O_RDONLY);
  ASSERT_EQ(fd, 3);
  EXPECT_EQ(read(fd, 4), "0123");
  EXPECT_EQ(read(fd, 100), "456789");
  EXPECT_EQ(read(fd, 100), "");
  EXPECT_EQ(call(SYS_lseek, {3, 2, SEEK_SET}), 2);
  const std::uint64_t to = room(16);
  EXPECT_EQ(call(SYS_pread64, {3, to, 3, 7}), 3);
  EXPECT_EQ(get_text(to, 3), "789");
  EXPECT_EQ(read(fd, 2), "23") << "pread does not move the offset";
  EXPECT_EQ(call(SYS_lseek, {3, static_cast<std::uint64_t>(-100), SEEK_CUR}), -EINVAL);
}

TEST_F(FilesTest, NothingOfTheHostCanBeWritten) {
  host_file("data", "0123456789");
  EXPECT_EQ(open(path("data"), O_RDWR), -EROFS);
  EXPECT_EQ(open(path("data"), O_WRONLY | O_TRUNC), -EROFS);
  EXPECT_EQ(open(path("new"), O_CREAT | O_WRONLY), -EROFS);
  EXPECT_EQ(call(SYS_unlink, {text(path("data"))}), -EROFS);
  EXPECT_EQ(call(SYS_mkdir, {text(path("sub")), 0755}), -EROFS);
  EXPECT_EQ(call(SYS_truncate, {text(path("data")), 0}), -EROFS);
  EXPECT_EQ(call(SYS_chmod, {text(path("data")), 0777}), -EROFS);
  EXPECT_EQ(call(SYS_access, {text(path("data")), W_OK}), -EROFS);
  const SysResult fd = open(path("data"), O_RDONLY);
  EXPECT_EQ(write(fd, "x"), -EBADF);
  EXPECT_EQ(std::filesystem::file_size(folder / "data"), 10U);
}

TEST_F(FilesTest, WhatIsNotOnTheAllowListDoesNotExist) {
  EXPECT_EQ(open(secret.string(), O_RDONLY), -ENOENT);
  EXPECT_EQ(stat_mode(secret.string()), -ENOENT);
  EXPECT_EQ(open(path("../secret"), O_RDONLY), -ENOENT);
  EXPECT_EQ(open(path("./../allowed/.././secret"), O_RDONLY), -ENOENT);
  EXPECT_EQ(open("/etc/shadow", O_RDONLY), -ENOENT);
  EXPECT_EQ(open("/proc/1/environ", O_RDONLY), -ENOENT);
}

TEST_F(FilesTest, LinksAreFollowedInsideAndLeadNowhereOutside) {
  host_file("data", "inside");
  std::filesystem::create_directory(folder / "sub");
  std::filesystem::create_symlink("../data", folder / "sub/relative");
  std::filesystem::create_symlink(folder / "data", folder / "absolute");
  std::filesystem::create_symlink(secret, folder / "escape");
  std::filesystem::create_symlink("../secret", folder / "escape2");
  std::filesystem::create_symlink("..", folder / "up");
  std::filesystem::create_symlink("loop", folder / "loop");
  EXPECT_EQ(read(open(path("sub/relative"), O_RDONLY)), "inside");
  EXPECT_EQ(read(open(path("absolute"), O_RDONLY)), "inside");
  EXPECT_EQ(open(path("escape"), O_RDONLY), -ENOENT);
  EXPECT_EQ(open(path("escape2"), O_RDONLY), -ENOENT);
  EXPECT_EQ(open(path("up/secret"), O_RDONLY), -ENOENT);
  EXPECT_EQ(open(path("loop"), O_RDONLY), -ELOOP);
  EXPECT_EQ(open(path("absolute"), O_RDONLY | O_NOFOLLOW), -ELOOP);
  EXPECT_EQ(stat_mode(path("absolute"), AT_SYMLINK_NOFOLLOW) & S_IFMT, S_IFLNK);
  const std::uint64_t to = room(64);
  EXPECT_EQ(call(SYS_readlink, {text(path("escape2")), to, 64}), 9);
  EXPECT_EQ(get_text(to, 9), "../secret");
}

TEST_F(FilesTest, DescriptorsInProcGoThroughTheSameChecks) {
  host_file("data", "inside");
  ASSERT_EQ(open(path("data"), O_RDONLY), 3);
  EXPECT_EQ(read(open("/proc/self/fd/3", O_RDONLY)), "inside");
  EXPECT_EQ(open("/proc/self/fd/3", O_RDWR), -EROFS);
  EXPECT_EQ(open("/dev/fd/99", O_RDONLY), -ENOENT);
  EXPECT_EQ(open("/proc/self/root/../../" + secret.string(), O_RDONLY), -ENOENT);
  EXPECT_EQ(open("/proc/self/cwd/etc/shadow", O_RDONLY), -ENOENT);
}

TEST_F(FilesTest, OnlyRegularFilesAndFoldersAreOpened) {
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0644), 0);
  EXPECT_EQ(open(path("fifo"), O_RDONLY), -EACCES) << "and the test does not hang";
}

TEST_F(FilesTest, AFolderListsEachNameOnce) {
  host_file("b", "");
  host_file("a", "");
  std::filesystem::create_directory(folder / "c");
  EXPECT_EQ(names(folder.string()), (std::vector<std::string>{".", "..", "a", "b", "c"}));
  EXPECT_EQ(names(folder.parent_path().string()), (std::vector<std::string>{".", "..", "allowed"}))
      << "a folder above the list shows what leads to it alone";
}

TEST_F(FilesTest, RelativePathsBeginInTheWorkingDirectory) {
  std::filesystem::create_directory(folder / "sub");
  host_file("sub/data", "inside");
  EXPECT_EQ(call(SYS_chdir, {text(path("sub"))}), 0);
  EXPECT_EQ(read(open("data", O_RDONLY)), "inside");
  EXPECT_EQ(read(open("../sub/./data", O_RDONLY)), "inside");
  const std::uint64_t to = room(256);
  const std::string cwd = path("sub");
  EXPECT_EQ(call(SYS_getcwd, {to, 256}), static_cast<SysResult>(cwd.size() + 1));
  EXPECT_EQ(get_text(to, cwd.size()), cwd);
  EXPECT_EQ(call(SYS_getcwd, {to, 5}), -ERANGE);
  EXPECT_EQ(call(SYS_chdir, {text("data")}), -ENOTDIR);
}

TEST_F(FilesTest, SyntheticFilesDescribeTheProcess) {
  EXPECT_EQ(read(open("/proc/self/cmdline", O_RDONLY)), std::string("program\0argument\0", 17));
  EXPECT_EQ(read(open("/proc/self/comm", O_RDONLY)), "program\n");
  const std::string maps = read(open("/proc/self/maps", O_RDONLY));
  EXPECT_TRUE(maps.starts_with("10000000-10100000 rw-p 00000000 00:00 0\n")) << maps;
  EXPECT_EQ(read(open("/etc/hostname", O_RDONLY)), "stasis\n");
  EXPECT_EQ(stat_mode("/dev/null"), S_IFCHR | 0666);
  EXPECT_EQ(read(open("/dev/zero", O_RDONLY), 3), std::string(3, '\0'));
  EXPECT_EQ(read(open("/dev/urandom", O_RDONLY), 3), "ZZZ");
  EXPECT_EQ(write(open("/dev/full", O_WRONLY), "x"), -ENOSPC);
  EXPECT_EQ(open("/dev/tty", O_RDWR), -ENXIO);
}

TEST_F(FilesTest, AMappedFileIsTheOneThatWasOpened) {
  host_file("data", "mapped content");
  const SysResult fd = open(path("data"), O_RDONLY);
  const auto at =
      call(SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE, static_cast<std::uint64_t>(fd), 0});
  ASSERT_GT(at, 0);
  EXPECT_EQ(get_text(static_cast<std::uint64_t>(at), 6), "mapped");
  EXPECT_EQ(memory.last_request().file->path(), path("data"));
  EXPECT_EQ(call(SYS_mmap,
                 {0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, static_cast<std::uint64_t>(fd), 0}),
            -EACCES);
  EXPECT_EQ(call(SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE, static_cast<std::uint64_t>(fd), 1}),
            -EINVAL);
  EXPECT_EQ(call(SYS_mmap, {0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, 0, 0}), -EINVAL);
}

TEST_F(FilesTest, TheAllowListIsRefusedWhenItNamesWhatIsTheGuests) {
  config.allow_read = {"/proc"};
  EXPECT_EQ(Kernel::create(config, memory).error().code, Errc::kInvalidArgument);
  config.allow_read = {"/nowhere/at/all"};
  EXPECT_EQ(Kernel::create(config, memory).error().code, Errc::kIo);
  config.allow_read = {"relative"};
  EXPECT_EQ(Kernel::create(config, memory).error().code, Errc::kInvalidArgument);
}

TEST_F(FilesTest, OpeningBeneathNeverFollowsALinkOnEitherWay) {
  std::filesystem::create_directory(folder / "sub");
  host_file("sub/data", "inside");
  std::filesystem::create_symlink("sub", folder / "link");
  std::filesystem::create_symlink(secret, folder / "sub/out");
  const UniqueFd root(::open(folder.c_str(), O_PATH | O_DIRECTORY));
  for (const auto& opener : {&open_beneath, &open_beneath_by_walking}) {
    EXPECT_TRUE(opener(root.get(), "sub/data", O_RDONLY).ok());
    EXPECT_FALSE(opener(root.get(), "link/data", O_RDONLY).ok());
    EXPECT_FALSE(opener(root.get(), "sub/out", O_RDONLY).ok());
    EXPECT_FALSE(opener(root.get(), "../secret", O_RDONLY).ok());
    EXPECT_FALSE(opener(root.get(), "sub/../../secret", O_RDONLY).ok());
  }
}

}  // namespace
}  // namespace stasis::linux_guest
