// Filling memory from a chain in which newer snapshots cover single pages of older chunks.
#include "snapshot/restore/filler.h"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/text.h"
#include "snapshot/checksum.h"
#include "snapshot/page_codec.h"
#include "snapshot/restore/held_chunks.h"
#include "tests/support/must.h"

namespace stasis::snapshot::internal {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::SizeIs;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kChunk = 64U << 10U;
constexpr std::uint64_t kMemory = std::uint64_t{4} << 20U;

// Bytes in memory that count how often each place is read.
class CountingFile : public ReadableFile {
 public:
  CountingFile(std::string path, std::vector<std::byte> bytes)
      : path_(std::move(path)), bytes_(std::move(bytes)) {}
  [[nodiscard]] const std::string& path() const override { return path_; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return bytes_.size(); }
  Result<void> read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    ++reads_[offset];
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return {};
  }
  [[nodiscard]] int fd() const override { return -1; }

  [[nodiscard]] const std::map<std::uint64_t, int>& reads() const { return reads_; }
  std::vector<std::byte>& bytes() { return bytes_; }

 private:
  std::string path_;
  std::vector<std::byte> bytes_;
  mutable std::map<std::uint64_t, int> reads_;  // One thread fills in these tests.
};

struct Case {
  ExtentKind kind;
  Verify verify;
};

std::string name_of(const Case& tested) {
  return std::string(tested.kind == ExtentKind::kRaw ? "raw" : "lz4") +
         (tested.verify == Verify::kOn ? "_checked" : "_unchecked");
}
void PrintTo(const Case& tested, std::ostream* out) {
  *out << name_of(tested);
}

// A parent that holds all of memory, and a child that holds one page in the middle of each chunk.
class PiecewiseFill : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    std::mt19937_64 random(1);
    expected_.resize(kMemory);
    for (std::byte& byte : expected_) {
      byte = static_cast<std::byte>(random() % 4);  // Compressible.
    }
    parent_ = store({{Gpa{0}, kMemory}}, GetParam().kind, "parent");
    std::vector<GpaRange> pages;
    for (std::uint64_t at = 5 * kPage; at < kMemory; at += kChunk) {
      std::fill_n(expected_.begin() + static_cast<std::ptrdiff_t>(at), kPage, std::byte{0x77});
      pages.push_back({Gpa{at}, kPage});
    }
    child_ = store(pages, GetParam().kind, "child");
    plan_.verify = GetParam().verify;
    plan_.regions = {{.range = {Gpa{0}, kMemory}}};
    for (std::size_t i = 0; i < pages.size(); ++i) {
      const Gpa chunk{i * kChunk};
      append({chunk, 5 * kPage}, 1, parent_.extents[0]);
      append(pages[i], 0, child_.extents[i]);
      append({pages[i].end(), kChunk - 6 * kPage}, 1, parent_.extents[0]);
    }
    memory_ = must(GuestMemory::create(plan_.regions, kPage));
  }

  Result<void> fill() {
    const std::vector<PayloadSource> sources = {{child_.file.get(), kChunk, child_.chunks},
                                                {parent_.file.get(), kChunk, parent_.chunks}};
    return fill_memory(plan_, sources, *memory_, {});
  }

  struct Stored {
    std::unique_ptr<CountingFile> file;
    std::vector<Extent> extents;
    std::vector<Chunk> chunks;
  };
  Stored parent_, child_;
  std::vector<std::byte> expected_;
  std::unique_ptr<GuestMemory> memory_;

 private:
  Stored store(const std::vector<GpaRange>& ranges, ExtentKind kind, const std::string& path) {
    Stored stored;
    std::vector<std::byte> bytes;
    for (const GpaRange& range : ranges) {
      stored.extents.push_back({.range = range,
                                .kind = kind,
                                .file_offset = bytes.size(),
                                .first_chunk = static_cast<std::uint32_t>(stored.chunks.size())});
      for (std::uint64_t i = 0; i < chunk_count_of(range, kChunk); ++i) {
        const GpaRange whole = chunk_range_of(range, i, kChunk);
        const auto raw =
            std::span<const std::byte>(expected_).subspan(whole.begin.value, whole.size);
        std::vector<std::byte> out(raw.begin(), raw.end());
        if (kind == ExtentKind::kLz4) {
          const std::size_t used = compress_chunk(raw, out);
          EXPECT_GT(used, 0U) << "the test's bytes should compress";
          out.resize(used);
        }
        stored.chunks.push_back({.file_offset = bytes.size(),
                                 .stored_bytes = static_cast<std::uint32_t>(out.size()),
                                 .checksum = chunk_checksum(raw, whole.begin)});
        bytes.insert(bytes.end(), out.begin(), out.end());
      }
    }
    stored.file = std::make_unique<CountingFile>(path, std::move(bytes));
    return stored;
  }
  void append(GpaRange range, std::uint32_t depth, const Extent& extent) {
    const SourceExtent source{range, depth, extent};
    if (GetParam().kind == ExtentKind::kLz4) {
      plan_.steps.emplace_back(DecompressInto{source});
    } else {
      plan_.steps.emplace_back(ReadInto{source});
    }
  }

 protected:
  RestorePlan plan_;
};

TEST_P(PiecewiseFill, PutsEachPieceInItsPlace) {
  must(fill());
  std::vector<std::byte> found(kMemory);
  must(memory_->read(Gpa{0}, found));
  EXPECT_TRUE(found == expected_);
}

TEST_P(PiecewiseFill, ReadsAChunkThatIsCheckedOrDecompressedOnceForAllItsPieces) {
  must(fill());
  EXPECT_THAT(child_.file->reads(), SizeIs(kMemory / kChunk));
  EXPECT_THAT(child_.file->reads(), Each(Pair(testing::_, 1)));
  const bool whole = GetParam().kind == ExtentKind::kLz4 || GetParam().verify == Verify::kOn;
  // Unchecked raw bytes are read as they are wanted: two pieces each.
  EXPECT_THAT(parent_.file->reads(), SizeIs(kMemory / kChunk * (whole ? 1 : 2)));
  EXPECT_THAT(parent_.file->reads(), Each(Pair(testing::_, 1)));
}

TEST_P(PiecewiseFill, NamesTheChunkWhoseBytesAreWrong) {
  if (GetParam().verify == Verify::kOff) {
    parent_.file->bytes().resize(parent_.file->bytes().size() - 1);
  } else {
    parent_.file->bytes().back() ^= std::byte{1};
  }
  const auto filled = fill();
  ASSERT_FALSE(filled);
  EXPECT_EQ(filled.error().code, Errc::kCorruption);
  EXPECT_THAT(filled.error().message, HasSubstr("parent"));
  EXPECT_THAT(filled.error().message, HasSubstr(describe({Gpa{kMemory - kChunk}, kChunk})));
}

INSTANTIATE_TEST_SUITE_P(Kinds, PiecewiseFill,
                         testing::Values(Case{ExtentKind::kRaw, Verify::kOn},
                                         Case{ExtentKind::kRaw, Verify::kOff},
                                         Case{ExtentKind::kLz4, Verify::kOn},
                                         Case{ExtentKind::kLz4, Verify::kOff}),
                         [](const auto& tested) { return name_of(tested.param); });

TEST(HeldChunks, KeepsWhatWasUsedLastUpToItsLimit) {
  HeldChunks held;
  const PayloadSource source;
  const PayloadSource other;
  constexpr std::uint64_t kQuarter = std::uint64_t{512} << 10U;
  for (std::uint64_t i = 0; i < 4; ++i) {
    held.make(source, i, kQuarter).bytes[0] = static_cast<std::byte>(i);
  }
  EXPECT_EQ(held.find(other, 0), nullptr);
  ASSERT_NE(held.find(source, 0), nullptr);  // Used now, so that 1 is the oldest.
  held.make(source, 4, kQuarter);
  EXPECT_EQ(held.find(source, 1), nullptr);
  for (const std::uint64_t kept : {0U, 2U, 3U}) {
    ASSERT_NE(held.find(source, kept), nullptr) << kept;
    EXPECT_EQ(held.find(source, kept)->bytes[0], static_cast<std::byte>(kept));
  }
}

TEST(HeldChunks, OneLargerThanTheLimitIsHeldAlone) {
  HeldChunks held;
  const PayloadSource source;
  held.make(source, 0, kPage);
  EXPECT_THAT(held.make(source, 1, 4 * kMemory).bytes, SizeIs(4 * kMemory));
  EXPECT_EQ(held.find(source, 0), nullptr);
  EXPECT_NE(held.find(source, 1), nullptr);
  held.make(source, 2, kPage);
  EXPECT_EQ(held.find(source, 1), nullptr);
}

TEST(HeldChunks, ForgetsTheOneThatCouldNotBeFilled) {
  HeldChunks held;
  const PayloadSource source;
  held.make(source, 0, kPage);
  held.forget(held.make(source, 1, kPage));
  EXPECT_EQ(held.find(source, 1), nullptr);
  EXPECT_NE(held.find(source, 0), nullptr);
}

}  // namespace
}  // namespace stasis::snapshot::internal
