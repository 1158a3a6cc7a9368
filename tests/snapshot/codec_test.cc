// Values survive encoding; the small parts of the format do what they promise.
#include <algorithm>
#include <array>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/checksum.h"
#include "snapshot/chunk_table.h"
#include "snapshot/manifest_codec.h"
#include "snapshot/page_codec.h"
#include "snapshot/zero_scan.h"
#include "tests/snapshot/samples.h"

namespace stasis::snapshot {
namespace {

using ::testing::HasSubstr;

TEST(ManifestCodec, EveryManifestSurvivesEncodingAndDecoding) {
  Random random(1);
  std::set<std::size_t> architectures;
  for (int i = 0; i < 300; ++i) {
    const Manifest manifest = random_manifest(random);
    architectures.insert(manifest.machine.vcpus.front().index());
    const auto bytes = encode_manifest(manifest);
    ASSERT_TRUE(bytes) << bytes.error().to_string();
    const auto decoded = decode_manifest(*bytes);
    ASSERT_TRUE(decoded) << decoded.error().to_string();
    ASSERT_EQ(decoded->manifest, manifest);
    const auto header = decode_header(*bytes);
    ASSERT_TRUE(header);
    EXPECT_EQ(header->root, decoded->root);
    EXPECT_EQ(header->id, manifest.id);
    EXPECT_EQ(header->creator, manifest.creator);
  }
  EXPECT_EQ(architectures.size(), 3U);
}

TEST(ManifestCodec, BytesMayLieAtAnyAddress) {
  Random random(2);
  const Manifest manifest = random_manifest(random);
  const auto bytes = encode_manifest(manifest);
  ASSERT_TRUE(bytes);
  std::vector<std::byte> shifted(bytes->size() + 1);
  std::copy(bytes->begin(), bytes->end(), shifted.begin() + 1);
  const auto decoded = decode_manifest(std::span(shifted).subspan(1));
  ASSERT_TRUE(decoded) << decoded.error().to_string();
  EXPECT_EQ(decoded->manifest, manifest);
}

TEST(ManifestCodec, AnyChangeOfAFieldChangesTheContentRoot) {
  Random random(3);
  Manifest manifest = random_manifest(random);
  const auto root_of = [&] { return decode_header(*encode_manifest(manifest))->root; };
  const ContentRoot before = root_of();
  manifest.index_checksum[1] ^= 1U;
  EXPECT_NE(root_of(), before);
}

TEST(ManifestCodec, TheManifestOfALargeGuestIsSmall) {
  Random random(4);
  Manifest manifest = random_manifest(random);
  manifest.parent.reset();
  manifest.layout = Layout::kMappable;
  manifest.codec = Codec::kNone;
  manifest.chunk_bytes = 64U << 10U;
  manifest.regions = {{{Gpa{0}, std::uint64_t{4} << 30U}}};
  manifest.extents = {{{Gpa{0}, std::uint64_t{4} << 30U}, ExtentKind::kRaw, 0, 0}};
  manifest.chunk_count = 65536;
  manifest.payload_bytes = std::uint64_t{4} << 30U;
  const auto bytes = encode_manifest(manifest);
  ASSERT_TRUE(bytes) << bytes.error().to_string();
  EXPECT_LT(bytes->size(), 64 * kKiB);
}

TEST(SnapshotId, SurvivesPrintingAndParsing) {
  const SnapshotId id = random_snapshot_id();
  EXPECT_EQ(parse_snapshot_id(to_string(id)), id);
  EXPECT_NE(random_snapshot_id(), id);
  for (const char* const bad :
       {"", "12", "0123456789abcdef0123456789abcdeg", "0123456789ABCDEF0123456789ABCDEF",
        "0123456789abcdef0123456789abcdef0"}) {
    EXPECT_EQ(parse_snapshot_id(bad), std::nullopt) << bad;
  }
}

// ---- Chunk tables ----

// A manifest whose extents the table describes, and the chunks as a writer would store them.
std::vector<Chunk> chunks_for(Manifest& manifest, Random& random) {
  std::vector<Chunk> chunks;
  for (const Extent& extent : manifest.extents) {
    std::uint64_t offset = extent.file_offset;
    const std::uint64_t count =
        is_stored(extent.kind) ? chunk_count_of(extent.range, manifest.chunk_bytes) : 0;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t raw = chunk_range_of(extent.range, i, manifest.chunk_bytes).size;
      const std::uint64_t stored = extent.kind == ExtentKind::kRaw ? raw : 1 + (random() % raw);
      chunks.push_back({offset, static_cast<std::uint32_t>(stored), random()});
      offset += stored;
    }
  }
  return chunks;
}

void seal(Manifest& manifest, const std::vector<std::byte>& index) {
  manifest.index_bytes = index.size();
  manifest.index_checksum = wide_checksum(index);
}

TEST(ChunkTableCodec, EveryTableSurvivesEncodingAndDecoding) {
  Random random(5);
  std::size_t total = 0;
  for (int i = 0; i < 300; ++i) {
    Manifest manifest = random_manifest(random);
    const std::vector<Chunk> chunks = chunks_for(manifest, random);
    const auto bytes = encode_chunk_table(manifest.id, manifest.codec, chunks);
    seal(manifest, bytes);
    const auto table = decode_chunk_table(manifest, bytes);
    ASSERT_TRUE(table) << table.error().to_string();
    ASSERT_EQ(table->chunks, chunks);
    total += chunks.size();
  }
  EXPECT_GT(total, 1000U);
}

TEST(ChunkTableCodec, ImpossibleTablesAreRefusedAlthoughTheirChecksumIsRight) {
  Random random(6);
  Manifest manifest;
  while (manifest.codec != Codec::kLz4 || manifest.chunk_count < 3 ||
         manifest.extents.back().kind != ExtentKind::kLz4) {
    manifest = random_manifest(random);
  }
  const std::vector<Chunk> good = chunks_for(manifest, random);
  const auto expect_refusal = [&](std::vector<Chunk> chunks, const SnapshotId& id,
                                  const char* words) {
    Manifest sealed = manifest;
    const auto bytes = encode_chunk_table(id, manifest.codec, chunks);
    seal(sealed, bytes);
    const auto table = decode_chunk_table(sealed, bytes);
    ASSERT_FALSE(table) << words;
    EXPECT_EQ(table.error().code, Errc::kCorruption);
    EXPECT_THAT(table.error().message, HasSubstr(words));
  };
  expect_refusal(good, random_snapshot_id(), "another snapshot");
  std::vector<Chunk> bad = good;
  bad.pop_back();
  expect_refusal(bad, manifest.id, "checksums");
  bad = good;
  bad.back().stored_bytes = 0;
  expect_refusal(bad, manifest.id, "not possible");
  bad = good;
  bad.back().stored_bytes = manifest.chunk_bytes + 1;
  expect_refusal(bad, manifest.id, "not possible");
  manifest.payload_bytes = manifest.extents.back().file_offset + 1;
  bad = good;
  bad.back().stored_bytes = 4096;
  expect_refusal(bad, manifest.id, "not possible");
}

TEST(ChunkTableCodec, AnOtherSizeOrChecksumThanTheManifestsIsRefused) {
  Random random(7);
  Manifest manifest = random_manifest(random);
  auto bytes = encode_chunk_table(manifest.id, manifest.codec, chunks_for(manifest, random));
  seal(manifest, bytes);
  bytes.back() ^= std::byte{1};
  EXPECT_THAT(decode_chunk_table(manifest, bytes).error().message, HasSubstr("checksum"));
  bytes.pop_back();
  EXPECT_THAT(decode_chunk_table(manifest, bytes).error().message, HasSubstr("bytes instead of"));
}

TEST(Chunks, CoverTheirExtentWithCutsAtMultiplesOfTheChunkSize) {
  Random random(8);
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t chunk = std::uint64_t{4096} << (random() % 10);
    const GpaRange range{Gpa{(random() % 5000) * 4096}, (1 + (random() % 3000)) * 4096};
    Gpa at = range.begin;
    const std::uint64_t count = chunk_count_of(range, chunk);
    for (std::uint64_t j = 0; j < count; ++j) {
      const GpaRange piece = chunk_range_of(range, j, chunk);
      ASSERT_EQ(piece.begin, at);
      ASSERT_LE(piece.size, chunk);
      ASSERT_TRUE(j == 0 || is_aligned(piece.begin.value, chunk));
      at = piece.end();
    }
    ASSERT_EQ(at, range.end());
  }
}

// ---- LZ4, XXH3, zero pages ----

TEST(PageCodec, WhatItCompressesItGivesBack) {
  Random random(9);
  for (int i = 0; i < 300; ++i) {
    std::vector<std::byte> raw(4096 * (1 + (random() % 20)));
    for (std::size_t j = 0; j < raw.size(); ++j) {
      raw[j] = static_cast<std::byte>(j % (1 + (random() % 7)));
    }
    std::vector<std::byte> stored(raw.size());
    stored.resize(compress_chunk(raw, stored));
    ASSERT_GT(stored.size(), 0U);
    ASSERT_LT(stored.size(), raw.size());
    std::vector<std::byte> back(raw.size());
    ASSERT_TRUE(decompress_chunk(stored, back));
    ASSERT_EQ(back, raw);
    std::vector<std::byte> other(raw.size() + 4096);
    EXPECT_EQ(decompress_chunk(stored, other).error().code, Errc::kCorruption);
    EXPECT_FALSE(decompress_chunk(std::span(stored).first(stored.size() - 1), back));
  }
}

TEST(PageCodec, NoiseIsLeftToBeStoredRaw) {
  Random random(10);
  std::vector<std::byte> raw(64 * kKiB);
  std::generate(raw.begin(), raw.end(), [&] { return static_cast<std::byte>(random()); });
  std::vector<std::byte> stored(raw.size());
  EXPECT_EQ(compress_chunk(raw, stored), 0U);
}

TEST(PageCodec, AnyBytesAreSafeToDecompress) {
  Random random(11);
  std::vector<std::byte> out(4096);
  for (int i = 0; i < 20000; ++i) {
    std::vector<std::byte> bytes(random() % 200);
    std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::byte>(random()); });
    static_cast<void>(decompress_chunk(bytes, out).has_value());
  }
}

TEST(Checksum, DependsOnEveryByteAndOnThePlace) {
  std::vector<std::byte> bytes(4096);
  const std::uint64_t sum = chunk_checksum(bytes, Gpa{0x1000});
  EXPECT_NE(chunk_checksum(bytes, Gpa{0x2000}), sum);
  for (std::size_t i = 0; i < bytes.size(); i += 61) {
    bytes[i] = std::byte{1};
    EXPECT_NE(chunk_checksum(bytes, Gpa{0x1000}), sum);
    bytes[i] = std::byte{0};
  }
}

TEST(Checksum, IsTheSameWhileCopying) {
  std::mt19937_64 random(11);
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{4096}, (std::size_t{16} << 10U) - 1, std::size_t{16} << 10U,
        (std::size_t{64} << 10U) + 4096, (std::size_t{256} << 10U) - 8, std::size_t{2} << 20U}) {
    std::vector<std::byte> bytes(size);
    std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::byte>(random()); });
    std::vector<std::byte> copy(size);
    EXPECT_EQ(copy_with_checksum(bytes, Gpa{size}, copy.data()), chunk_checksum(bytes, Gpa{size}));
    EXPECT_EQ(copy, bytes);
  }
}

// Whatever begins and ends where: past the caches only whole lines can be written.
TEST(Checksum, IsTheSameWhileCopyingPastTheCaches) {
  constexpr std::size_t kRoom = std::size_t{64} << 10U;
  std::mt19937_64 random(12);
  std::vector<std::byte> bytes(kRoom + 64);
  std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::byte>(random()); });
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{4096}, std::size_t{16} << 10U,
        (std::size_t{16} << 10U) + 8, (std::size_t{20} << 10U) + 64, kRoom - 1, kRoom}) {
    for (const std::size_t skipped : {0U, 1U, 8U, 32U, 63U}) {
      SCOPED_TRACE(std::to_string(size) + " bytes at " + std::to_string(skipped));
      const std::span<const std::byte> raw(bytes.data() + skipped, size);
      // On a line's beginning, `skipped` bytes behind it, and something behind the copy.
      alignas(64) static std::array<std::byte, kRoom + 256> room;
      for (const std::size_t offset : {std::size_t{0}, skipped}) {
        room.fill(std::byte{0x5a});
        EXPECT_EQ(copy_with_checksum(raw, Gpa{size}, room.data() + offset, CopyTo::kMemory),
                  chunk_checksum(raw, Gpa{size}));
        EXPECT_TRUE(std::equal(raw.begin(), raw.end(), room.data() + offset));
        EXPECT_EQ(room.at(offset + size), std::byte{0x5a});
        room.fill(std::byte{0x5a});
        copy_to_memory(raw, room.data() + offset);
        EXPECT_TRUE(std::equal(raw.begin(), raw.end(), room.data() + offset));
        EXPECT_EQ(room.at(offset + size), std::byte{0x5a});
      }
    }
  }
}

// Leaves words on the stack for the next call to find in what it does not initialise.
[[gnu::noinline]] void litter_stack(const std::array<std::uint64_t, 4>& pattern) {
  alignas(64) std::array<volatile std::uint64_t, 2048> words;
  for (std::size_t i = 0; i < words.size(); ++i) {
    words[i] = pattern[i % pattern.size()];
  }
}

// A state of XXH3 that is not initialised keeps a secret that it finds, if the seed that it finds
// is the right one: with a pointer of its own, two words further, that is null.
TEST(Checksum, DoesNotDependOnWhatWasOnTheStack) {
  const std::vector<std::byte> bytes(std::size_t{64} << 10U, std::byte{7});
  std::vector<std::byte> copy(bytes.size());
  const Gpa gpa{0x46c000};
  std::array<std::uint64_t, 4> pattern = {gpa.value, gpa.value, 0, 0};
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    litter_stack(pattern);
    const std::uint64_t sum = copy_with_checksum(bytes, gpa, copy.data());
    EXPECT_EQ(sum, chunk_checksum(bytes, gpa)) << "rotated by " << i;
    std::ranges::rotate(pattern, pattern.begin() + 1);
  }
}

// Values computed by the reference implementation of XXH3 0.8: files depend on them.
TEST(Checksum, IsXxh3) {
  std::array<std::byte, 4> bytes = {std::byte{'s'}, std::byte{'t'}, std::byte{'a'}, std::byte{'s'}};
  EXPECT_EQ(wide_checksum({})[0], 0x6001c324468d497fU);
  EXPECT_EQ(wide_checksum({})[1], 0x99aa06d3014798d8U);
  EXPECT_EQ(chunk_checksum({}, Gpa{0}), 0x2d06800538d394c2U);
  EXPECT_NE(chunk_checksum(bytes, Gpa{0}), chunk_checksum(bytes, Gpa{1}));
}

TEST(ZeroScan, FindsOneByteAnywhereInAPage) {
  alignas(64) std::array<std::byte, 4096> page = {};
  EXPECT_TRUE(is_zero(page));
  for (std::byte& byte : page) {
    byte = std::byte{0x80};
    EXPECT_FALSE(is_zero(page));
    byte = std::byte{0};
  }
}

TEST(ZeroScan, RunsEndWhereZeroPagesBeginOrEnd) {
  std::vector<std::byte> bytes(8 * 4096);
  bytes[(2 * 4096) + 17] = std::byte{1};
  bytes[(3 * 4096) + 4095] = std::byte{1};
  const std::span<const std::byte> all(bytes);
  const auto expect_run = [&](std::size_t page, std::uint64_t pages, bool zero) {
    const ZeroRun run = first_run(all.subspan(page * 4096), 4096);
    EXPECT_EQ(run.bytes, pages * 4096);
    EXPECT_EQ(run.zero, zero);
  };
  expect_run(0, 2, true);
  expect_run(2, 2, false);
  expect_run(4, 4, true);
}

}  // namespace
}  // namespace stasis::snapshot
