// The floors do what they say: bytes arrive, and times are positive. How long they take is for
// stasis-floor to say, not for a test.
#include "experiments/floor/floors.h"

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "experiments/floor/bare_kvm.h"
#include "tests/experiments/temporary_directory.h"

namespace stasis::experiments {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20U;
constexpr std::int64_t kMinute = 60'000'000'000;

#define EXPECT_PLAUSIBLE(ns) \
  EXPECT_GT(ns, 0);          \
  EXPECT_LT(ns, kMinute)

TEST(Floors, FirstTouchWorksForEveryBacking) {
  const TemporaryDirectory directory;
  const std::string file = directory.write("file", std::string(4 * kMiB, 'x'));
  for (const Backing backing :
       {Backing::kSmallPages, Backing::kHugePages, Backing::kMemfd, Backing::kPrivateFile}) {
    auto ns = first_touch_ns(backing, 4 * kMiB, file);
    ASSERT_TRUE(ns) << name_of(backing) << ": " << ns.error().to_string();
    EXPECT_PLAUSIBLE(*ns);
  }
}

TEST(Floors, HugePageMemoryBeginsAtAHugePage) {
  auto memory = FreshMemory::map(Backing::kHugePages, 4 * kMiB);
  ASSERT_TRUE(memory);
  std::uintptr_t address = 0;
  const std::byte* begin = memory->bytes().data();
  std::memcpy(&address, &begin, sizeof(address));
  EXPECT_EQ(address % (2 * kMiB), 0U);
  EXPECT_EQ(memory->bytes().size(), 4 * kMiB);
}

TEST(Floors, PreadCountsOnlyTheDataOfASparseFile) {
  const TemporaryDirectory directory;
  const std::string path = directory.write("sparse", std::string(64 << 10, 'x'));
  ASSERT_EQ(::truncate(path.c_str(), 8 * kMiB), 0);
  auto segments = file_segments(path);
  ASSERT_TRUE(segments);
  std::uint64_t data = 0;
  for (const FileSegment& segment : *segments) {
    data += segment.bytes;
  }
  EXPECT_LE(data, 8 * kMiB);
  EXPECT_GE(data, 64U << 10U);
  auto ns = pread_to_fresh_ns(path, 4096);
  ASSERT_TRUE(ns) << ns.error().to_string();
  EXPECT_PLAUSIBLE(*ns);
  EXPECT_FALSE(pread_to_fresh_ns(directory.file("absent"), 4096));
}

TEST(Floors, ZeroScanFindsExactlyThePagesThatAreNotZero) {
  auto memory = FreshMemory::map(Backing::kSmallPages, kMiB);
  ASSERT_TRUE(memory);
  std::size_t nonzero = 99;
  EXPECT_PLAUSIBLE(zero_scan_ns(memory->bytes(), nonzero));
  EXPECT_EQ(nonzero, 0U);
  memory->bytes()[0] = std::byte{1};                // First byte of the first page.
  memory->bytes()[5 * 4096 + 4095] = std::byte{1};  // Last byte of the sixth.
  zero_scan_ns(memory->bytes(), nonzero);
  EXPECT_EQ(nonzero, 2U);
}

TEST(Floors, Lz4MakesSampleDataSmallerAndGivesItBack) {
  auto memory = FreshMemory::map(Backing::kHugePages, 4 * kMiB);
  ASSERT_TRUE(memory);
  fill_with_sample(memory->bytes(), 3);
  const Lz4Image image = compress_chunks(memory->bytes(), 64U << 10U);
  EXPECT_EQ(image.chunks.size(), 64U);
  EXPECT_PLAUSIBLE(image.compress_ns);
  EXPECT_LT(image.stored_bytes, image.raw_bytes * 3 / 4);
  EXPECT_GT(image.stored_bytes, image.raw_bytes / 8);
  auto ns = decompress_to_fresh_ns(image, memory->bytes());
  ASSERT_TRUE(ns) << ns.error().to_string();
  EXPECT_PLAUSIBLE(*ns);
  Lz4Image damaged = image;
  for (Lz4Chunk& chunk : damaged.chunks) {
    if (!chunk.stored.empty()) {
      chunk.stored.resize(chunk.stored.size() / 2);
    }
  }
  EXPECT_FALSE(decompress_to_fresh_ns(damaged, memory->bytes()));
}

TEST(Floors, WritingLeavesNoFileBehind) {
  const TemporaryDirectory directory;
  auto memory = FreshMemory::map(Backing::kSmallPages, kMiB);
  ASSERT_TRUE(memory);
  const std::vector<FileSegment> segments = {{.offset = 0, .bytes = 4096},
                                             {.offset = 8192, .bytes = 4096}};
  auto times = write_file_ns(directory.file("out"), memory->bytes(), segments);
  ASSERT_TRUE(times) << times.error().to_string();
  EXPECT_PLAUSIBLE(times->write);
  EXPECT_PLAUSIBLE(times->sync);
  EXPECT_FALSE(std::filesystem::exists(directory.file("out")));
}

TEST(Floors, CopiesAndHashesTakeTime) {
  auto copied = copy_ns(4 * kMiB);
  ASSERT_TRUE(copied);
  EXPECT_PLAUSIBLE(*copied);
  auto memory = FreshMemory::map(Backing::kHugePages, 4 * kMiB);
  ASSERT_TRUE(memory);
  fill_with_sample(memory->bytes(), 1);
  EXPECT_PLAUSIBLE(hash_ns(memory->bytes(), 64U << 10U));
  EXPECT_PLAUSIBLE(scan_and_hash_ns(memory->bytes(), 64U << 10U));
  auto fresh = copy_to_fresh_ns(memory->bytes());
  ASSERT_TRUE(fresh);
  EXPECT_PLAUSIBLE(*fresh);
}

TEST(BareKvmFloor, ReachesTheFirstInstructionAndAddsUp) {
  auto times = measure_bare_kvm(16 * kMiB);
  if (!times && times.error().code == Errc::kNotSupported) {
    GTEST_SKIP() << times.error().to_string();
  }
  ASSERT_TRUE(times) << times.error().to_string();
  EXPECT_PLAUSIBLE(times->first_instruction);
  for (const std::int64_t part : {times->memory, times->create_vm, times->slot, times->create_vcpu,
                                  times->registers, times->enter}) {
    EXPECT_GT(part, 0);
  }
  const std::int64_t sum = times->memory + times->create_vm + times->slot + times->create_vcpu +
                           times->registers + times->enter;
  EXPECT_LE(sum, times->first_instruction + times->error);
  EXPECT_GE(sum, times->first_instruction * 9 / 10);
}

TEST(BareKvmFloor, RefusesMemoryThatItsPageTablesCannotMap) {
  auto times = measure_bare_kvm(3 * kMiB);
  ASSERT_FALSE(times);
  EXPECT_EQ(times.error().code, Errc::kInvalidArgument);
}

}  // namespace
}  // namespace stasis::experiments
