#include "core/file_loss_guard.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/guest_memory.h"
#include "core/unique_fd.h"
#include "tests/support/must.h"

namespace stasis {
namespace {

using ::testing::HasSubstr;

constexpr std::size_t kMiB = std::size_t{1} << 20U;
constexpr std::size_t kFileBytes = 8 * kMiB;

std::size_t page_bytes() {
  return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

// An unnamed file of 'x' and a private mapping of it.
class MappedFile {
 public:
  MappedFile() {
    std::string path = testing::TempDir() + "stasis-loss-XXXXXX";
    fd_ = UniqueFd(::mkstemp(path.data()));
    ::unlink(path.c_str());
    const std::string content(kFileBytes, 'x');
    EXPECT_EQ(::write(fd_.get(), content.data(), content.size()),
              static_cast<ssize_t>(content.size()));
    mapping_ = static_cast<std::byte*>(
        ::mmap(nullptr, kFileBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd_.get(), 0));
  }
  ~MappedFile() { ::munmap(mapping_, kFileBytes); }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::byte* bytes() const { return mapping_; }
  void cut_to(std::size_t size) const {
    ASSERT_EQ(::ftruncate(fd_.get(), static_cast<off_t>(size)), 0);
  }
  // Not optimised away.
  [[nodiscard]] char at(std::size_t offset) const {
    return *reinterpret_cast<const volatile char*>(mapping_ + offset);
  }

 private:
  UniqueFd fd_;
  std::byte* mapping_ = nullptr;
};

TEST(FileLossGuard, ATouchOfWhatAFileHasLostReadsZeroAndIsRemembered) {
  const MappedFile file;
  FileLossGuard guard;
  must(guard.watch(file.bytes(), kFileBytes));
  EXPECT_EQ(file.at(kFileBytes - 1), 'x');
  must(guard.check("test"));
  file.cut_to(page_bytes());
  EXPECT_EQ(file.at(page_bytes()), 0);
  EXPECT_EQ(file.at(kFileBytes - 1), 0);
  EXPECT_EQ(file.at(0), 'x');
  const Result<void> lost = guard.check("test");
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, Errc::kIo);
  EXPECT_THAT(lost.error().message, HasSubstr("test: "));
  EXPECT_THAT(lost.error().message, HasSubstr("cut short"));
}

TEST(FileLossGuard, EveryByteOfALargeLossCanBeTouched) {
  const MappedFile file;
  FileLossGuard guard;
  must(guard.watch(file.bytes(), kFileBytes));
  file.cut_to(0);
  for (std::size_t at = 0; at < kFileBytes; at += page_bytes()) {
    ASSERT_EQ(file.at(at), 0) << at;
  }
  EXPECT_FALSE(guard.check("test"));
}

TEST(FileLossGuard, OnlyTheGuardWhoseMappingWasTouchedIsTold) {
  const MappedFile touched;
  const MappedFile other;
  FileLossGuard first;
  FileLossGuard second;
  FileLossGuard third;
  must(first.watch(other.bytes(), kFileBytes / 2));
  must(second.watch(touched.bytes(), kFileBytes));
  must(third.watch(other.bytes() + kFileBytes / 2, kFileBytes / 2));
  touched.cut_to(0);
  other.cut_to(0);
  EXPECT_EQ(touched.at(kMiB), 0);
  EXPECT_FALSE(second.check("test"));
  must(first.check("test"));
  must(third.check("test"));
  second.release();
  EXPECT_EQ(other.at(kFileBytes - 1), 0);
  EXPECT_FALSE(third.check("test"));
  must(first.check("test"));
}

TEST(FileLossGuard, ATouchOfAMappingThatNobodyGuardsStillKills) {
  // In a process of its own, whose handler is not installed yet.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        // A sanitizer's own handler would end the process in another way.
        std::signal(SIGBUS, SIG_DFL);
        const MappedFile guarded;
        const MappedFile file;
        FileLossGuard guard;
        must(guard.watch(guarded.bytes(), kFileBytes));
        FileLossGuard released;
        must(released.watch(file.bytes(), kFileBytes));
        released.release();
        file.cut_to(0);
        static_cast<void>(file.at(0));
        std::exit(0);
      },
      ::testing::KilledBySignal(SIGBUS), "");
}

// ---- Guest memory ----

std::unique_ptr<GuestMemory> overlaid(const MappedFile& file) {
  const RegionSpec spec{.range = {Gpa{0}, 2 * kFileBytes}};
  auto memory = must(GuestMemory::create(std::span(&spec, 1), page_bytes()));
  must(memory->overlay_file({Gpa{kFileBytes}, kFileBytes}, {file.fd(), 0}));
  return memory;
}

TEST(FileLossGuard, GuestMemoryThatHasLostItsFileFailsReadsWritesAndTheCheck) {
  const MappedFile file;
  const auto memory = overlaid(file);
  EXPECT_EQ(must(memory->read_object<char>(Gpa{kFileBytes})), 'x');
  file.cut_to(0);
  must(memory->check_intact());  // Nobody has met the loss yet.
  EXPECT_EQ(must(memory->read_object<char>(Gpa{0})), 0);
  const auto read = memory->read_object<char>(Gpa{kFileBytes + 5});
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::kIo);
  // For good, and wherever: what is computed from such memory means nothing.
  EXPECT_FALSE(memory->read_object<char>(Gpa{0}));
  EXPECT_FALSE(memory->write_object(Gpa{0}, 'y'));
  EXPECT_FALSE(memory->check_intact());
}

TEST(FileLossGuard, AFileThatWasCutIsNoticedByItsLengthBeforeAnyTouch) {
  const MappedFile file;
  const auto memory = overlaid(file);
  must(memory->check_files());
  file.cut_to(kFileBytes - 1);  // Within a page: no touch would raise a signal.
  must(memory->check_intact());
  const auto whole = memory->check_files();
  ASSERT_FALSE(whole);
  EXPECT_EQ(whole.error().code, Errc::kIo);
  EXPECT_THAT(whole.error().message, HasSubstr(std::to_string(kFileBytes)));
  EXPECT_THAT(whole.error().message, HasSubstr(std::to_string(kFileBytes - 1)));
}

TEST(FileLossGuard, AFileMayGrowAndBeRemovedWhileItIsMapped) {
  const MappedFile file;  // Has no name any more.
  const auto memory = overlaid(file);
  file.cut_to(2 * kFileBytes);
  must(memory->check_files());
}

TEST(FileLossGuard, AWriteOfTheHostIntoALostPageFailsToo) {
  const MappedFile file;
  const auto memory = overlaid(file);
  file.cut_to(kFileBytes / 2);
  must(memory->write_object(Gpa{kFileBytes}, 'y'));
  EXPECT_FALSE(memory->write_object(Gpa{2 * kFileBytes - 1}, 'y'));
}

}  // namespace
}  // namespace stasis
