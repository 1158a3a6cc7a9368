#include "experiments/harness/page_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/unique_fd.h"
#include "tests/experiments/temporary_directory.h"

namespace stasis::experiments {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20U;

// The page cache *is* tmpfs's storage: nothing there can be cold.
bool is_on_tmpfs(const std::string& path) {
  struct statfs status {};
  return ::statfs(path.c_str(), &status) == 0 && status.f_type == 0x01021994;
}

class PageCache : public testing::Test {
 protected:
  void SetUp() override {
    if (is_on_tmpfs(directory_.path())) {
      GTEST_SKIP() << "the temporary directory is a tmpfs: set TMPDIR to a disk";
    }
  }
  TemporaryDirectory directory_;
};

// Reads page `index` of the file the way a restore does: by touching a mapping. True if the page
// was there before.
bool is_resident(const std::string& path, std::uint64_t index) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  void* mapping =
      ::mmap(nullptr, page, PROT_READ, MAP_SHARED, fd.get(), static_cast<off_t>(index * page));
  EXPECT_NE(mapping, MAP_FAILED);
  unsigned char resident = 0;
  EXPECT_EQ(::mincore(mapping, page, &resident), 0);
  ::munmap(mapping, page);
  return (resident & 1U) != 0;
}

TEST_F(PageCache, ColdFilesAreReallyNotCachedAndWarmOnesAre) {
  const std::vector<std::string> files = {directory_.write("a", std::string(4 * kMiB, 'a')),
                                          directory_.write("b", std::string(5000, 'b'))};
  auto cold = set_cache_state(files, CacheState::kCold);
  ASSERT_TRUE(cold) << cold.error().to_string();
  EXPECT_EQ(cold->data_pages, 1024U + 2U);
  EXPECT_EQ(cold->cached_pages, 0U);
  EXPECT_FALSE(is_resident(files[0], 0));
  EXPECT_FALSE(is_resident(files[0], 1023));

  auto warm = set_cache_state(files, CacheState::kWarm);
  ASSERT_TRUE(warm) << warm.error().to_string();
  EXPECT_EQ(warm->cached_pages, warm->data_pages);
  EXPECT_TRUE(is_resident(files[0], 0));
  EXPECT_TRUE(is_resident(files[1], 1));
}

TEST_F(PageCache, BothMethodsSeeTheSame) {
  const std::vector<std::string> files = {directory_.write("a", std::string(kMiB, 'a'))};
  for (const CacheState state : {CacheState::kCold, CacheState::kWarm}) {
    ASSERT_TRUE(set_cache_state(files, state));
    auto best = cache_residency(files);
    auto mincore = cache_residency(files, ResidencyMethod::kMincore);
    ASSERT_TRUE(best && mincore);
    EXPECT_EQ(best->cached_pages, mincore->cached_pages);
    EXPECT_EQ(best->data_pages, mincore->data_pages);
    EXPECT_EQ(mincore->method, "mincore");
  }
}

TEST_F(PageCache, HolesAreNeitherReadNorCounted) {
  const std::string path = directory_.file("sparse");
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(::ftruncate(fd.get(), 64 * kMiB), 0);
  const std::string data(kMiB, 'x');
  ASSERT_EQ(::pwrite(fd.get(), data.data(), data.size(), 32 * kMiB), static_cast<ssize_t>(kMiB));
  const std::vector<std::string> files = {path};
  ASSERT_TRUE(set_cache_state(files, CacheState::kCold));
  auto warm = set_cache_state(files, CacheState::kWarm);
  ASSERT_TRUE(warm) << warm.error().to_string();
  EXPECT_EQ(warm->data_pages, 256U);
  EXPECT_FALSE(is_resident(path, 0));
}

TEST_F(PageCache, AFileThatSomebodyHasMappedAndTouchedIsReportedNotCalledCold) {
  const std::string path = directory_.write("held", std::string(kMiB, 'h'));
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  void* mapping = ::mmap(nullptr, kMiB, PROT_READ, MAP_SHARED | MAP_POPULATE, fd.get(), 0);
  ASSERT_NE(mapping, MAP_FAILED);
  auto cold = set_cache_state(std::vector<std::string>{path}, CacheState::kCold);
  ::munmap(mapping, kMiB);
  ASSERT_FALSE(cold);
  EXPECT_EQ(cold.error().code, Errc::kTimeout);
  EXPECT_NE(cold.error().message.find("256 of 256"), std::string::npos) << cold.error().message;
}

TEST_F(PageCache, AMissingFileIsNamed) {
  auto residency = cache_residency(std::vector<std::string>{directory_.file("absent")});
  ASSERT_FALSE(residency);
  EXPECT_NE(residency.error().message.find("absent"), std::string::npos);
}

TEST_F(PageCache, AllFilesOfADirectoryAreFoundInOrder) {
  directory_.write("z", "1");
  directory_.write("a", "2");
  auto files = files_below(directory_.path());
  ASSERT_TRUE(files);
  EXPECT_EQ(*files, (std::vector<std::string>{directory_.file("a"), directory_.file("z")}));
  EXPECT_FALSE(files_below(directory_.file("absent")));
}

}  // namespace
}  // namespace stasis::experiments
