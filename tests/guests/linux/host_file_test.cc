// What is remembered of a file of the host, and when its content need not be read again.
#include "guests/linux/vfs/host_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace stasis::linux_guest {
namespace {

constexpr std::uint64_t kNoHash = 42;  // What no content of these tests hashes to.

class HostFileTest : public ::testing::Test {
 protected:
  HostFileTest() {
    std::string name = (std::filesystem::temp_directory_path() / "host_file_XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    write("0123456789");
  }
  ~HostFileTest() override { std::filesystem::remove_all(folder_); }
  HostFileTest(const HostFileTest&) = delete;
  HostFileTest& operator=(const HostFileTest&) = delete;

  [[nodiscard]] std::string path() const { return (folder_ / "file").string(); }
  void write(const std::string& content) const { std::ofstream(path()) << content; }
  [[nodiscard]] UniqueFd open() const { return UniqueFd(::open(path().c_str(), O_RDONLY)); }
  // As if the file had been remembered long ago, with a hash that is not its own.
  [[nodiscard]] HostFileIdentity remembered() const {
    const UniqueFd fd = open();
    struct stat stat {};
    EXPECT_EQ(::fstat(fd.get(), &stat), 0);
    HostFileIdentity identity = *identity_of(path(), fd.get());
    identity.content_hash = kNoHash;
    identity.version = {stat.st_dev, stat.st_ino,
                        stat.st_ctim.tv_sec * 1'000'000'000 + stat.st_ctim.tv_nsec};
    return identity;
  }

 private:
  std::filesystem::path folder_;
};

TEST_F(HostFileTest, AFileThatCannotHaveChangedIsNotReadAgain) {
  auto now = identity_since(remembered(), open().get());
  ASSERT_TRUE(now.ok());
  EXPECT_EQ(now->content_hash, kNoHash);
}

TEST_F(HostFileTest, AFileOfAnotherTimeOfChangeInodeOrDeviceIsReadAgain) {
  const std::uint64_t hash = identity_of(path(), open().get())->content_hash;
  for (const int what : {0, 1, 2}) {
    HostFileIdentity was = remembered();
    was.version.changed_ns -= what == 0 ? 1 : 0;
    was.version.inode += what == 1 ? 1U : 0U;
    was.version.device += what == 2 ? 1U : 0U;
    EXPECT_EQ(identity_since(was, open().get())->content_hash, hash) << what;
  }
}

TEST_F(HostFileTest, ASnapshotWithoutTheTimeOfChangeIsReadAgain) {
  HostFileIdentity was = remembered();
  was.version = {};
  EXPECT_NE(identity_since(was, open().get())->content_hash, kNoHash);
}

TEST_F(HostFileTest, ContentThatChangedAndGotItsOldTimeBackIsReadAgain) {
  const auto time = std::filesystem::last_write_time(path());
  const HostFileIdentity was = remembered();
  write("0123456780");
  // Old kernels move times in steps of some milliseconds.
  while (remembered().version == was.version) {
    write("0123456780");
  }
  std::filesystem::last_write_time(path(), time);
  auto now = identity_since(was, open().get());
  EXPECT_EQ(now->modified_ns, was.modified_ns);
  EXPECT_NE(now->content_hash, kNoHash);
}

TEST_F(HostFileTest, AYoungFileVouchesForNothing) {
  EXPECT_EQ(identity_of(path(), open().get())->version.changed_ns, 0);
}

}  // namespace
}  // namespace stasis::linux_guest
