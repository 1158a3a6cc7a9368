// What the kernel says of pages, on mappings that no machine of the other tests has.
#include "snapshot/linux/pagemap.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/linux/userfaultfd.h"
#include "snapshot/trackers/tracker_factories.h"

namespace stasis::snapshot::internal {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kPages = 2048;

// A mapping, and the pages of it that were found.
class PagemapTrackerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const Availability availability = probe_pagemap_scan();
    if (!availability.available) {
      GTEST_SKIP() << availability.reason;
    }
  }
  void TearDown() override {
    if (!bytes_.empty()) {
      ::munmap(bytes_.data(), bytes_.size());
    }
  }

  void map(int flags, int fd) {
    void* const address = ::mmap(nullptr, kPages * kPage, PROT_READ | PROT_WRITE, flags, fd, 0);
    ASSERT_NE(address, MAP_FAILED);
    bytes_ = {static_cast<std::byte*>(address), kPages * kPage};
    ::madvise(address, kPages * kPage, MADV_NOHUGEPAGE);
  }
  void write(std::size_t page) { bytes_[page * kPage] = std::byte{1}; }
  [[nodiscard]] std::vector<std::size_t> pages_of(const HostRanges& ranges) const {
    std::vector<std::size_t> pages;
    for (const std::span<std::byte>& range : ranges) {
      for (std::size_t at = 0; at < range.size(); at += kPage) {
        pages.push_back(static_cast<std::size_t>(range.data() + at - bytes_.data()) / kPage);
      }
    }
    return pages;
  }

  std::span<std::byte> bytes_;
};

TEST_F(PagemapTrackerTest, WrittenPagesOfAPrivateFileAreTakenOnce) {
  std::FILE* const file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(::ftruncate(::fileno(file), kPages * kPage), 0);
  map(MAP_PRIVATE, ::fileno(file));
  std::fclose(file);
  write(3);
  const UserfaultfdFeatures features = *query_userfaultfd(WriteFaults::kLetThrough);
  Userfaultfd uffd = *Userfaultfd::open(features, WriteFaults::kLetThrough);
  ASSERT_TRUE(uffd.register_range(bytes_));
  ASSERT_TRUE(uffd.protect(bytes_));
  const Pagemap pagemap = *Pagemap::open();
  HostRanges found;
  ASSERT_TRUE(pagemap.take_written(bytes_, found));
  EXPECT_THAT(found, ::testing::IsEmpty());
  write(3);
  write(4);
  volatile std::byte read = bytes_[9 * kPage];
  (void)read;
  ASSERT_TRUE(pagemap.take_written(bytes_, found));
  EXPECT_THAT(pages_of(found), ::testing::ElementsAre(3, 4));
  found.clear();
  ASSERT_TRUE(pagemap.take_written(bytes_, found));
  EXPECT_THAT(found, ::testing::IsEmpty());
}

// More runs of pages than one call of the kernel reports.
TEST_F(PagemapTrackerTest, EveryOtherPageOfManyIsFound) {
  map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
  const UserfaultfdFeatures features = *query_userfaultfd(WriteFaults::kLetThrough);
  Userfaultfd uffd = *Userfaultfd::open(features, WriteFaults::kLetThrough);
  ASSERT_TRUE(uffd.register_range(bytes_));
  ASSERT_TRUE(uffd.protect(bytes_));
  std::vector<std::size_t> expected;
  for (std::size_t page = 1; page < kPages; page += 2) {
    write(page);
    expected.push_back(page);
  }
  HostRanges found;
  ASSERT_TRUE(Pagemap::open()->take_written(bytes_, found));
  EXPECT_EQ(pages_of(found), expected);
}

TEST_F(PagemapTrackerTest, UnprotectedMemoryIsAnErrorAndNotClean) {
  map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
  write(1);
  HostRanges found;
  const Result<void> taken = Pagemap::open()->take_written(bytes_, found);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().os_error, EPERM);
}

TEST_F(PagemapTrackerTest, ResidentAreThePagesThatWereTouched) {
  map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
  write(0);
  write(700);
  write(701);
  HostRanges found;
  ASSERT_TRUE(Pagemap::open()->find_resident(bytes_, found));
  EXPECT_THAT(pages_of(found), ::testing::ElementsAre(0, 700, 701));
}

}  // namespace
}  // namespace stasis::snapshot::internal
