// Recorded working sets: hints beside a snapshot that may be missing, old, or anything.
#include "snapshot/working_set.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/snapshot/memory_file_system.h"
#include "tests/snapshot/samples.h"
#include "tests/support/must.h"

namespace stasis::snapshot {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kPage = 4096;

WorkingSet sample() {
  WorkingSet set;
  set.snapshot = *parse_snapshot_id("00112233445566778899aabbccddeeff");
  set.root = {123, 456};
  set.created_ns = 1'700'000'000'000'000'000;
  set.pieces = {{{Gpa{0}, kPage}, PopulateFor::kWriting},
                {{Gpa{kPage}, 3 * kPage}, PopulateFor::kReading},
                {{Gpa{100 * kPage}, kPage}, PopulateFor::kWriting}};
  return set;
}

TEST(WorkingSetCodec, WhatIsWrittenIsRead) {
  EXPECT_EQ(must(decode_working_set(must(encode_working_set(sample())))), sample());
  WorkingSet empty = sample();
  empty.pieces.clear();
  EXPECT_EQ(must(decode_working_set(must(encode_working_set(empty)))), empty);
}

TEST(WorkingSetCodec, EveryTruncationIsRefused) {
  const std::vector<std::byte> bytes = must(encode_working_set(sample()));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto set = decode_working_set(std::span(bytes).first(size));
    ASSERT_FALSE(set) << size;
    EXPECT_EQ(set.error().code, Errc::kCorruption) << size;
  }
}

TEST(WorkingSetCodec, NoFlippedBitIsReadAsAnotherSet) {
  const std::vector<std::byte> bytes = must(encode_working_set(sample()));
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::vector<std::byte> damaged = bytes;
    damaged[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto set = decode_working_set(damaged);
    EXPECT_TRUE(!set || *set == sample()) << bit;  // Some bits of the framing mean nothing.
  }
}

TEST(WorkingSetCodec, RunsThatBreakARuleAreNeverWritten) {
  const auto refused = [](auto change) {
    WorkingSet set = sample();
    change(set);
    const auto bytes = encode_working_set(set);
    return !bytes && bytes.error().code == Errc::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](WorkingSet& set) { std::swap(set.pieces[0], set.pieces[1]); }));
  EXPECT_TRUE(refused([](WorkingSet& set) { set.pieces[1].range.begin = Gpa{0}; }));
  EXPECT_TRUE(refused([](WorkingSet& set) { set.pieces[0].range.size = 0; }));
  EXPECT_TRUE(refused([](WorkingSet& set) { set.pieces[0].range.size = 100; }));
  EXPECT_TRUE(refused([](WorkingSet& set) { set.pieces[2].range.begin.value += 8; }));
  EXPECT_TRUE(refused([](WorkingSet& set) { set.pieces[2].range.begin = Gpa{UINT64_MAX - 4095}; }));
  EXPECT_TRUE(refused([](WorkingSet& set) { set.unit_bytes = 5000; }));
  EXPECT_TRUE(refused([](WorkingSet& set) { set.unit_bytes = 1 << 20; }));
  EXPECT_TRUE(refused([](WorkingSet& set) {
    set.pieces.clear();
    for (std::uint64_t i = 0; i <= kWorkingSetRunsMax; ++i) {
      set.pieces.push_back({{Gpa{i * kPage}, kPage}, PopulateFor::kReading});
    }
  }));
}

class WorkingSetFile : public ::testing::Test {
 protected:
  void SetUp() override {
    auto memory = make_memory({{Gpa{0}, kMiB}});
    must(save(files_, "/warm", *memory));
    reader_ = must(SnapshotReader::open(files_, "/warm"));
  }
  WorkingSet own() const {
    WorkingSet set = sample();
    set.snapshot = reader_->manifest().id;
    set.root = reader_->root();
    return set;
  }
  std::size_t file_count() const { return files_.files().size(); }

  MemoryFileSystem files_;
  std::unique_ptr<SnapshotReader> reader_;
};

TEST_F(WorkingSetFile, NoneIsNoError) {
  EXPECT_EQ(must(read_working_set(files_, *reader_)), std::nullopt);
}

TEST_F(WorkingSetFile, TheLastOneWrittenIsTheOneThatIsRead) {
  must(write_working_set(files_, *reader_, own()));
  EXPECT_EQ(must(read_working_set(files_, *reader_)), own());
  WorkingSet second = own();
  second.pieces.pop_back();
  must(write_working_set(files_, *reader_, second));
  EXPECT_EQ(must(read_working_set(files_, *reader_)), second);
  EXPECT_EQ(file_count(), 4U);  // The snapshot's three and this one.
}

TEST_F(WorkingSetFile, OneOfAnotherSnapshotIsAMismatch) {
  must(write_working_set(files_, *reader_, own()));
  WorkingSet other = own();
  other.root.low ^= 1;
  EXPECT_EQ(write_working_set(files_, *reader_, other).error().code, Errc::kMismatch);
  files_.overwrite("/warm/working-set.capnp", must(encode_working_set(other)));
  const auto read = read_working_set(files_, *reader_);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::kMismatch);
  EXPECT_THAT(read.error().message, HasSubstr("/warm/working-set.capnp"));
}

TEST_F(WorkingSetFile, OneThatLeavesTheGuestsMemoryIsAMismatch) {
  must(write_working_set(files_, *reader_, own()));
  WorkingSet large = own();
  large.pieces[2].range = {Gpa{kMiB - kPage}, 2 * kPage};
  files_.overwrite("/warm/working-set.capnp", must(encode_working_set(large)));
  EXPECT_EQ(read_working_set(files_, *reader_).error().code, Errc::kMismatch);
}

TEST_F(WorkingSetFile, DamageIsNamedWithItsFile) {
  must(write_working_set(files_, *reader_, own()));
  files_.overwrite("/warm/working-set.capnp", std::vector<std::byte>(64, std::byte{0xff}));
  const auto read = read_working_set(files_, *reader_);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::kCorruption);
  EXPECT_THAT(read.error().message, HasSubstr("/warm/working-set.capnp"));
  files_.overwrite("/warm/working-set.capnp", std::vector<std::byte>(kWorkingSetBytesMax + 8));
  EXPECT_EQ(read_working_set(files_, *reader_).error().code, Errc::kCorruption);
}

TEST_F(WorkingSetFile, AFailureAtAnyOperationLeavesTheOldOneAndNothingElse) {
  must(write_working_set(files_, *reader_, own()));
  WorkingSet second = own();
  second.pieces.pop_back();
  for (int failing = 0;; ++failing) {
    int operation = 0;
    files_.before = [&](std::string_view, const std::string&) -> Result<void> {
      return operation++ == failing ? Result<void>(Error{Errc::kIo, 28, "the disk is full"})
                                    : Result<void>();
    };
    const auto written = write_working_set(files_, *reader_, second);
    files_.before = nullptr;
    if (written) {
      break;
    }
    EXPECT_EQ(written.error().code, Errc::kIo);
    const auto read = must(read_working_set(files_, *reader_));
    EXPECT_TRUE(read == own() || read == second) << failing;
    EXPECT_EQ(file_count(), 4U) << failing;
    must(write_working_set(files_, *reader_, own()));
    ASSERT_LT(failing, 20);
  }
  EXPECT_EQ(must(read_working_set(files_, *reader_)), second);
}

TEST_F(WorkingSetFile, ASnapshotThatIsReplacedLosesIt) {
  must(write_working_set(files_, *reader_, own()));
  WriterOptions options;
  options.replace_existing = true;
  must(save(files_, "/warm", *make_memory({{Gpa{0}, kMiB}}), options));
  const auto again = must(SnapshotReader::open(files_, "/warm"));
  EXPECT_EQ(must(read_working_set(files_, *again)), std::nullopt);
}

TEST(TouchedPages, AreThoseThatWereReadAndThoseThatWereWritten) {
  const TemporaryDirectory directory;
  constexpr std::uint64_t kBytes = 64 * kPage;
  const std::string path = directory / "file";
  auto file = must(posix_file_system().create_file(path));
  must(file->set_size(kBytes));
  const std::vector<RegionSpec> specs = {
      {{Gpa{kMiB}, kBytes}, BackingKind::kAnonymous, HugePages::kNever, {}}};
  const auto memory = must(GuestMemory::create(specs, kPage));
  const auto source = must(posix_file_system().open_file(path));
  must(memory->overlay_file({Gpa{kMiB}, kBytes}, {source->fd(), 0}));
  EXPECT_TRUE(must(find_touched(*memory)).empty());

  const auto bytes = must(memory->writable_view({Gpa{kMiB}, kBytes}));
  bytes[5 * kPage] = std::byte{1};
  bytes[6 * kPage + 4095] = std::byte{1};
  const std::vector<PopulatePiece> written = {
      {{Gpa{kMiB + 5 * kPage}, 2 * kPage}, PopulateFor::kWriting}};
  EXPECT_EQ(must(find_touched(*memory)), written);

  const volatile std::byte* const read = &bytes[40 * kPage];
  static_cast<void>(*read);
  bool found = false;
  for (const PopulatePiece& piece : must(find_touched(*memory))) {
    EXPECT_EQ(piece.access == PopulateFor::kWriting, piece == written[0]);
    found = found || piece.range.contains(Gpa{kMiB + 40 * kPage});
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace stasis::snapshot
