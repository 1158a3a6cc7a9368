#include "core/guest_memory.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/unique_fd.h"
#include "tests/support/must.h"

namespace stasis {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

Result<std::unique_ptr<GuestMemory>> create(std::vector<RegionSpec> specs,
                                            std::uint64_t page_size_bytes = kPage) {
  return GuestMemory::create(specs, page_size_bytes);
}

template <typename T>
void expect_refused(const Result<T>& result, Errc code, std::string_view part) {
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, code);
  EXPECT_THAT(result.error().message, HasSubstr(std::string(part)));
}

// An unnamed file of `pages` pages; every byte of page i is 'a' + i.
UniqueFd file_of_pages(std::size_t pages) {
  std::string path = testing::TempDir() + "stasis-memory-XXXXXX";
  UniqueFd fd(::mkstemp(path.data()));
  ::unlink(path.c_str());
  for (std::size_t i = 0; i < pages; ++i) {
    const std::string page(kPage, static_cast<char>('a' + i));
    EXPECT_EQ(::write(fd.get(), page.data(), page.size()), static_cast<ssize_t>(kPage));
  }
  return fd;
}

char byte_at(const GuestMemory& memory, std::uint64_t gpa) {
  return must(memory.read_object<char>(Gpa{gpa}));
}

std::uintptr_t host_address(const MemoryRegion& region) {
  return reinterpret_cast<std::uintptr_t>(region.host);
}

class EveryBacking : public testing::TestWithParam<BackingKind> {
 protected:
  RegionSpec spec(GpaRange range) {
    file_ = file_of_pages(range.size / kPage);
    return {.range = range, .backing = GetParam(), .file = {file_.get(), 0}};
  }
  [[nodiscard]] bool is_file() const {
    return GetParam() == BackingKind::kPrivateFile || GetParam() == BackingKind::kSharedFile;
  }
  [[nodiscard]] int file() const { return file_.get(); }

 private:
  UniqueFd file_;
};

INSTANTIATE_TEST_SUITE_P(Backing, EveryBacking,
                         testing::Values(BackingKind::kAnonymous, BackingKind::kMemfd,
                                         BackingKind::kPrivateFile, BackingKind::kSharedFile),
                         [](const testing::TestParamInfo<BackingKind>& backing) {
                           return std::string(name_of(backing.param));
                         });

TEST_P(EveryBacking, HoldsWhatIsWrittenAndBeginsAsItsBackingSays) {
  const auto memory = must(create({spec({Gpa{kMiB}, 4 * kPage})}));
  EXPECT_EQ(byte_at(*memory, kMiB + 2 * kPage), is_file() ? 'c' : '\0');
  must(memory->write_object(Gpa{kMiB + kPage - 2}, std::uint32_t{0xaabbccdd}));
  EXPECT_EQ(must(memory->read_object<std::uint32_t>(Gpa{kMiB + kPage - 2})), 0xaabbccddU);
  if (is_file()) {
    std::uint32_t in_file = 0;
    ASSERT_EQ(::pread(file(), &in_file, sizeof(in_file), kPage - 2), 4);
    EXPECT_EQ(in_file == 0xaabbccddU, GetParam() == BackingKind::kSharedFile);
  }
}

TEST_P(EveryBacking, IsCongruentToItsGuestAddressForHugePages) {
  const auto memory = must(create({spec({Gpa{5 * kPage}, 3 * kPage})}));
  const MemoryRegion& region = memory->regions()[0];
  EXPECT_EQ((host_address(region) - region.range.begin.value) % (2 * kMiB), 0U);
}

TEST_P(EveryBacking, ZeroReplacesPagesAndLeavesTheirNeighbours) {
  const auto memory = must(create({spec({Gpa{0}, 4 * kPage})}));
  for (std::uint64_t i = 0; i < 4; ++i) {
    must(memory->write_object(Gpa{i * kPage}, 'x'));
  }
  const Result<void> replaced = memory->replace_with_zero({Gpa{kPage}, 2 * kPage});
  if (GetParam() == BackingKind::kSharedFile) {
    ASSERT_FALSE(replaced);
    EXPECT_EQ(replaced.error().code, Errc::kNotSupported);
    return;
  }
  must(replaced);
  EXPECT_EQ(byte_at(*memory, 0), 'x');
  EXPECT_EQ(byte_at(*memory, kPage), '\0');
  EXPECT_EQ(byte_at(*memory, 2 * kPage + 5), '\0');
  EXPECT_EQ(byte_at(*memory, 3 * kPage), 'x');
  must(memory->write_object(Gpa{kPage}, 'y'));
  EXPECT_EQ(byte_at(*memory, kPage), 'y');
}

TEST_P(EveryBacking, AFileOverlaysPagesPrivatelyOrIsRefused) {
  const auto memory = must(create({spec({Gpa{0}, 4 * kPage})}));
  const UniqueFd overlay = file_of_pages(8);
  const Result<void> mapped =
      memory->overlay_file({Gpa{kPage}, 2 * kPage}, {overlay.get(), 4 * kPage});
  if (GetParam() == BackingKind::kMemfd || GetParam() == BackingKind::kSharedFile) {
    ASSERT_FALSE(mapped);
    EXPECT_EQ(mapped.error().code, Errc::kNotSupported);
    return;
  }
  must(mapped);
  EXPECT_EQ(byte_at(*memory, kPage), 'e');
  EXPECT_EQ(byte_at(*memory, 2 * kPage), 'f');
  EXPECT_EQ(byte_at(*memory, 3 * kPage), is_file() ? 'd' : '\0');
  must(memory->write_object(Gpa{kPage}, 'y'));
  char in_file = 0;
  ASSERT_EQ(::pread(overlay.get(), &in_file, 1, 4 * kPage), 1);
  EXPECT_EQ(in_file, 'e') << "the guest's write reached the file";
  must(memory->replace_with_zero({Gpa{kPage}, kPage}));
  EXPECT_EQ(byte_at(*memory, kPage), '\0');
}

TEST(GuestMemory, AMemfdCanBeMappedTwice) {
  const auto memory = must(create({{.range = {Gpa{0}, kPage}, .backing = BackingKind::kMemfd}}));
  const int fd = memory->regions()[0].memfd;
  ASSERT_GE(fd, 0);
  void* const again = ::mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd, 0);
  ASSERT_NE(again, MAP_FAILED);
  must(memory->write_object(Gpa{8}, 'z'));
  EXPECT_EQ(static_cast<const char*>(again)[8], 'z');
  ::munmap(again, kPage);
}

TEST(GuestMemory, CopiesCrossAdjacentRegionsButNotHoles) {
  const auto memory =
      must(create({{.range = {Gpa{3 * kPage}, kPage}},
                   {.range = {Gpa{0}, kPage}},
                   {.range = {Gpa{kPage}, kPage}, .backing = BackingKind::kMemfd}}));
  EXPECT_EQ(memory->size_bytes(), 3 * kPage);
  must(memory->write_object(Gpa{kPage - 4}, std::uint64_t{0x1122334455667788}));
  EXPECT_EQ(must(memory->read_object<std::uint64_t>(Gpa{kPage - 4})), 0x1122334455667788U);
  EXPECT_EQ(must(memory->read_object<std::uint32_t>(Gpa{kPage})), 0x11223344U);

  const Result<void> torn = memory->write_object(Gpa{2 * kPage - 4}, UINT64_MAX);
  ASSERT_FALSE(torn);
  EXPECT_EQ(torn.error().code, Errc::kOutOfRange);
  EXPECT_EQ(must(memory->read_object<std::uint32_t>(Gpa{2 * kPage - 4})), 0U)
      << "a refused copy has written a part";
  EXPECT_FALSE(memory->read_object<std::uint64_t>(Gpa{UINT64_MAX - 3}));
  EXPECT_FALSE(memory->read_object<char>(Gpa{2 * kPage}));
}

TEST(GuestMemory, ViewsStayInsideOneRegion) {
  const auto memory = must(create({{.range = {Gpa{kPage}, 2 * kPage}}}));
  EXPECT_EQ(must(memory->view({Gpa{kPage + 1}, kPage})).size(), kPage);
  EXPECT_FALSE(memory->view({Gpa{0}, 1}));
  EXPECT_FALSE(memory->view({Gpa{3 * kPage}, 1}));
  EXPECT_FALSE(memory->view({Gpa{2 * kPage}, kPage + 1}));
  EXPECT_FALSE(memory->writable_view({Gpa{2 * kPage}, UINT64_MAX}));
}

TEST(GuestMemory, WritesAreHostWritesAndLoadersAreNot) {
  const auto memory = must(create({{.range = {Gpa{0}, 8 * kPage}}}));
  must(memory->writable_view({Gpa{0}, 1}))[0] = std::byte{1};
  must(memory->write_object(Gpa{3 * kPage - 1}, std::uint16_t{1}));
  EXPECT_THAT(memory->host_writes().collect(),
              testing::ElementsAre(GpaRange{Gpa{2 * kPage}, 2 * kPage}));
}

TEST(GuestMemory, AnAtomicStoreIsAHostWriteOfAlignedRam) {
  const auto memory = must(create({{.range = {Gpa{0}, 8 * kPage}}}));
  must(memory->store_release(Gpa{3 * kPage - 8}, 0x0102030405060708));
  EXPECT_EQ(must(memory->read_object<std::uint64_t>(Gpa{3 * kPage - 8})), 0x0102030405060708U);
  EXPECT_THAT(memory->host_writes().collect(),
              testing::ElementsAre(GpaRange{Gpa{2 * kPage}, kPage}));
  expect_refused(memory->store_release(Gpa{kPage + 4}, 1), Errc::kInvalidArgument, "unaligned");
  expect_refused(memory->store_release(Gpa{8 * kPage}, 1), Errc::kOutOfRange, "");
  EXPECT_THAT(memory->host_writes().collect(), testing::IsEmpty());
}

// Notes what it is asked, and what is in memory then.
class Guard final : public HostWriteGuard {
 public:
  explicit Guard(GuestMemory& memory) : memory_(memory) {}
  void before_host_write(GpaRange range) override {
    asked.push_back(range);
    const auto word = memory_.read_object<std::uint32_t>(range.begin);
    before.push_back(word ? *word : 0xdead);
  }
  std::vector<GpaRange> asked;
  std::vector<std::uint32_t> before;

 private:
  GuestMemory& memory_;
};

TEST(GuestMemory, AsksItsGuardBeforeEveryHostWriteAndOnlyThen) {
  const auto memory = must(create({{.range = {Gpa{0x10000}, 4 * kPage}}}));
  Guard guard(*memory);
  ASSERT_TRUE(memory->write_object(Gpa{0x10ffe}, std::uint32_t{1}));
  ASSERT_TRUE(memory->set_write_guard(guard));
  ASSERT_TRUE(memory->write_object(Gpa{0x10ffe}, std::uint32_t{2}));
  EXPECT_FALSE(memory->write_object(Gpa{0x13ffe}, std::uint32_t{3})) << "not all of it is RAM";
  EXPECT_EQ(guard.asked, std::vector<GpaRange>({{Gpa{0x10ffe}, 4}}));
  ASSERT_TRUE(memory->store_release(Gpa{0x11008}, 5));
  EXPECT_EQ(guard.asked.back(), (GpaRange{Gpa{0x11008}, 8}));
  guard.asked.pop_back();
  guard.before.pop_back();
  EXPECT_EQ(guard.before, std::vector<std::uint32_t>({1}));
  Guard second(*memory);
  const auto refused = memory->set_write_guard(second);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
  memory->remove_write_guard();
  ASSERT_TRUE(memory->write_object(Gpa{0x10ffe}, std::uint32_t{4}));
  EXPECT_EQ(guard.asked.size(), 1U);
  EXPECT_TRUE(memory->set_write_guard(second));
  memory->remove_write_guard();
  memory->remove_write_guard();  // Nothing to do.
}

TEST(GuestMemory, ReservedHugePagesAreThereOrRefusedWithACure) {
  const auto memory = create({{.range = {Gpa{0}, 2 * kMiB}, .huge_pages = HugePages::kHugetlb}});
  if (!memory) {
    expect_refused(memory, Errc::kIo, "nr_hugepages");
    return;
  }
  EXPECT_EQ(host_address((*memory)->regions()[0]) % (2 * kMiB), 0U);
}

TEST(GuestMemory, AbsurdSizesAreRefusedWithTheirSizeAndACure) {
  for (const BackingKind backing : {BackingKind::kAnonymous, BackingKind::kMemfd}) {
    for (const HugePages huge_pages : {HugePages::kNever, HugePages::kTransparent}) {
      expect_refused(create({{.range = {Gpa{0}, std::uint64_t{128} << 40},
                              .backing = backing,
                              .huge_pages = huge_pages}}),
                     Errc::kIo, "128 TiB of guest memory");
      expect_refused(create({{.range = {Gpa{0}, UINT64_MAX - kPage + 1},
                              .backing = backing,
                              .huge_pages = huge_pages}}),
                     Errc::kIo, "--memory");
    }
  }
}

TEST(GuestMemory, AFailureOfALaterRegionLeavesNothingMapped) {
  // If the first region leaked, the 47-bit address space would be full after a few rounds.
  for (int round = 0; round < 300; ++round) {
    ASSERT_FALSE(create({{.range = {Gpa{0}, std::uint64_t{1} << 40}},
                         {.range = {Gpa{std::uint64_t{1} << 50}, std::uint64_t{128} << 40}}}));
  }
  EXPECT_TRUE(create({{.range = {Gpa{0}, std::uint64_t{1} << 40}}}));
}

TEST(GuestMemory, BadRegionsAreRefusedNamingWhatIsWrong) {
  expect_refused(create({}), Errc::kInvalidArgument, "at least one");
  expect_refused(create({{.range = {Gpa{0}, 0}}}), Errc::kInvalidArgument, "empty");
  expect_refused(create({{.range = {Gpa{1}, kPage}}}), Errc::kInvalidArgument, "page size");
  expect_refused(create({{.range = {Gpa{0}, kPage + 1}}}), Errc::kInvalidArgument, "page size");
  expect_refused(create({{.range = {Gpa{kPage}, kPage}}}, 16384), Errc::kInvalidArgument, "16384");
  expect_refused(create({{.range = {Gpa{0}, kPage}}}, 5000), Errc::kInvalidArgument, "5000");
  expect_refused(create({{.range = {Gpa{0}, kPage}}}, 0), Errc::kInvalidArgument, "power of two");
  expect_refused(create({{.range = {Gpa{align_down(UINT64_MAX, kPage)}, 2 * kPage}}}),
                 Errc::kInvalidArgument, "wraps");
  expect_refused(create({{.range = {Gpa{0}, 2 * kPage}}, {.range = {Gpa{kPage}, kPage}}}),
                 Errc::kInvalidArgument, "overlaps");
  expect_refused(create({{.range = {Gpa{0}, kPage}, .backing = BackingKind::kPrivateFile}}),
                 Errc::kInvalidArgument, "file descriptor");
  expect_refused(create({{.range = {Gpa{0}, kPage}, .huge_pages = HugePages::kHugetlb}}),
                 Errc::kInvalidArgument, "2 MiB");
}

TEST(GuestMemory, AFileThatIsTooShortIsRefusedInsteadOfKillingTheGuest) {
  const UniqueFd file = file_of_pages(2);
  expect_refused(create({{.range = {Gpa{0}, 3 * kPage},
                          .backing = BackingKind::kPrivateFile,
                          .file = {file.get(), 0}}}),
                 Errc::kOutOfRange, "8192");
  const auto memory = must(create({{.range = {Gpa{0}, 4 * kPage}}}));
  const Result<void> overlay = memory->overlay_file({Gpa{0}, kPage}, {file.get(), 2 * kPage});
  ASSERT_FALSE(overlay);
  EXPECT_EQ(overlay.error().code, Errc::kOutOfRange);
  EXPECT_FALSE(memory->overlay_file({Gpa{0}, kPage}, {file.get(), 100}));
  EXPECT_FALSE(memory->overlay_file({Gpa{100}, kPage}, {file.get(), 0}));
  EXPECT_FALSE(memory->overlay_file({Gpa{3 * kPage}, 2 * kPage}, {file.get(), 0}));
  EXPECT_FALSE(memory->overlay_file({Gpa{0}, 0}, {file.get(), 0}));
  EXPECT_FALSE(memory->overlay_file({Gpa{0}, kPage}, {-1, 0}));
}

// What of the host's mapping behind these bytes is resident: mincore(2).
std::vector<bool> resident_pages(std::span<const std::byte> bytes) {
  std::vector<unsigned char> pages(bytes.size() / kPage);
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): mincore() only looks.
  EXPECT_EQ(::mincore(const_cast<std::byte*>(bytes.data()), bytes.size(), pages.data()), 0);
  std::vector<bool> resident;
  for (const unsigned char page : pages) {
    resident.push_back((page & 1U) != 0);
  }
  return resident;
}

TEST(Populating, BringsInThePagesItWasToldAndChangesNothing) {
  const auto memory =
      must(create({{.range = {Gpa{kMiB}, 8 * kPage}, .huge_pages = HugePages::kNever}}));
  const UniqueFd file = file_of_pages(4);
  must(memory->overlay_file({Gpa{kMiB + 4 * kPage}, 4 * kPage}, {file.get(), 0}));
  const std::array<PopulatePiece, 2> pieces = {
      {{{Gpa{kMiB + kPage}, 2 * kPage}, PopulateFor::kWriting},
       {{Gpa{kMiB + 5 * kPage}, kPage}, PopulateFor::kWriting}}};
  for (const PopulatePiece& piece : pieces) {
    must(memory->populate(piece));
  }
#if defined(MADV_POPULATE_WRITE)
  const auto resident = resident_pages(must(memory->view({Gpa{kMiB}, 4 * kPage})));
  EXPECT_EQ(resident, (std::vector<bool>{false, true, true, false}));
#endif
  EXPECT_EQ(byte_at(*memory, kMiB + kPage), 0);
  EXPECT_EQ(byte_at(*memory, kMiB + 5 * kPage), 'b');
  EXPECT_TRUE(memory->host_writes().collect().empty());
  char in_file = 0;
  EXPECT_EQ(::pread(file.get(), &in_file, 1, kPage), 1);
  EXPECT_EQ(in_file, 'b');
}

TEST(Populating, APieceThatIsNoWholePagesOfOneRegionIsRefused) {
  const auto memory =
      must(create({{.range = {Gpa{0}, 4 * kPage}, .huge_pages = HugePages::kNever}}));
  for (const GpaRange bad :
       {GpaRange{Gpa{kPage}, 100}, GpaRange{Gpa{8}, kPage}, GpaRange{Gpa{kPage}, 4 * kPage},
        GpaRange{Gpa{0}, 0}, GpaRange{Gpa{UINT64_MAX - kPage + 1}, kPage}}) {
    const auto populated = memory->populate({bad, PopulateFor::kWriting});
    ASSERT_FALSE(populated);
    EXPECT_EQ(populated.error().code, Errc::kOutOfRange);
  }
  EXPECT_EQ(resident_pages(must(memory->view({Gpa{0}, 4 * kPage}))), std::vector<bool>(4, false));
}

}  // namespace
}  // namespace stasis
