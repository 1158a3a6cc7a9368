#include "snapshot/block_writer.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "core/host_thread.h"
#include "tests/support/must.h"

namespace stasis::snapshot::internal {
namespace {

using Bytes = std::vector<std::byte>;

// Keeps what is written and how; may refuse.
class MemoryFile final : public WritableFile {
 public:
  struct Write {
    std::uint64_t offset = 0, size = 0;
  };

  Result<void> write_at(std::uint64_t offset,
                        std::span<const std::span<const std::byte>> pieces) override {
    const MutexLock lock(mutex_);
    if (fails) {
      return Error{Errc::kIo, ENOSPC, "full"};
    }
    std::uint64_t at = offset;
    for (const auto& piece : pieces) {
      content.resize(std::max<std::size_t>(content.size(), at + piece.size()));
      std::memcpy(content.data() + at, piece.data(), piece.size());
      at += piece.size();
    }
    writes.push_back({offset, at - offset});
    return {};
  }
  void start_writeback(std::uint64_t, std::uint64_t) override { ++writebacks; }
  Result<void> set_size(std::uint64_t) override { return {}; }
  Result<void> sync() override { return {}; }
  Result<void> close() override { return {}; }

  bool fails = false;
  Bytes content;
  std::vector<Write> writes;
  std::atomic<int> writebacks = 0;

 private:
  Mutex mutex_;
};

Bytes random_bytes(std::size_t size, unsigned seed) {
  std::mt19937_64 random(seed);
  Bytes bytes(size);
  std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::byte>(random()); });
  return bytes;
}

void expect_whole_blocks(const MemoryFile& file, std::uint64_t size) {
  std::uint64_t sum = 0;
  for (const MemoryFile::Write& write : file.writes) {
    EXPECT_EQ(write.offset % kFileBlockBytes, 0U);
    EXPECT_EQ(write.size, std::min(kFileBlockBytes, size - write.offset));
    sum += write.size;
  }
  EXPECT_EQ(sum, size) << "each byte once";
}

TEST(BlockWriter, WritesWholeBlocksOfWhatComesInAnyOrder) {
  const std::size_t size = 3 * kFileBlockBytes + 777;
  const Bytes bytes = random_bytes(size, 1);
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    std::vector<std::pair<std::size_t, std::size_t>> parts;
    for (std::size_t at = 0; at < size;) {
      const std::size_t part = std::min<std::size_t>(size - at, 1 + random() % (3U << 20U));
      parts.emplace_back(at, part);
      at += part;
    }
    std::shuffle(parts.begin(), parts.end(), random);
    MemoryFile file;
    BlockWriter writer(file, BlockWriter::Writeback::kEarly);
    for (const auto& [at, part] : parts) {
      must(writer.write(at, std::span(bytes).subspan(at, part)));
    }
    EXPECT_EQ(file.writes.size(), 3U) << "a block is written as soon as it is full";
    must(writer.finish());
    EXPECT_EQ(file.content, bytes);
    EXPECT_EQ(file.writebacks.load(), 4);
    expect_whole_blocks(file, size);
  }
}

TEST(BlockWriter, SeveralThreadsFillTheSameBlocks) {
  constexpr std::size_t kParts = 4096;
  constexpr std::size_t kPart = 5000;
  const Bytes bytes = random_bytes(kParts * kPart, 2);
  MemoryFile file;
  BlockWriter writer(file, BlockWriter::Writeback::kByTheKernel);
  std::atomic<std::size_t> next = 0;
  {
    std::vector<HostThread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.push_back(must(HostThread::start("a test", [&] {
        for (std::size_t part = next++; part < kParts; part = next++) {
          must(writer.write(part * kPart, std::span(bytes).subspan(part * kPart, kPart)));
        }
      })));
    }
  }
  must(writer.finish());
  EXPECT_EQ(file.content, bytes);
  EXPECT_EQ(file.writebacks.load(), 0);
  expect_whole_blocks(file, bytes.size());
}

TEST(BlockWriter, NothingWrittenIsNoWrite) {
  MemoryFile file;
  BlockWriter writer(file, BlockWriter::Writeback::kEarly);
  must(writer.write(0, {}));
  must(writer.finish());
  EXPECT_TRUE(file.writes.empty());
}

TEST(BlockWriter, AFailureOfTheFileIsTheFailureOfTheCallThatFillsABlock) {
  MemoryFile file;
  file.fails = true;
  BlockWriter writer(file, BlockWriter::Writeback::kEarly);
  const Bytes bytes(kFileBlockBytes);
  must(writer.write(0, std::span(bytes).first(100)));
  const Result<void> full = writer.write(100, std::span(bytes).subspan(100));
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().os_error, ENOSPC);
  must(writer.write(kFileBlockBytes, std::span(bytes).first(7)));
  EXPECT_FALSE(writer.finish());
}

}  // namespace
}  // namespace stasis::snapshot::internal
