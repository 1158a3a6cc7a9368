// What is written is what is read: layouts, codecs, chunk sizes, page sizes, chains.
#include <sys/stat.h>

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/operations.h"
#include "tests/snapshot/memory_file_system.h"
#include "tests/snapshot/samples.h"

namespace stasis::snapshot {
namespace {

using ::testing::HasSubstr;

GpaRanges two_regions() {
  return {{Gpa{0}, 3 * kMiB}, {Gpa{16 * kMiB + 64 * kKiB}, 1 * kMiB + 48 * kKiB}};
}

struct Variant {
  const char* name;
  Layout layout;
  Codec codec;
  std::uint32_t chunk_bytes;
  std::uint64_t page_size;
  std::uint32_t threads;
};
void PrintTo(const Variant& variant, std::ostream* out) {
  *out << variant.name;
}

class SnapshotWriterVariants : public ::testing::TestWithParam<Variant> {
 protected:
  [[nodiscard]] static WriterOptions options() {
    WriterOptions options;
    options.layout = GetParam().layout;
    options.codec = GetParam().codec;
    options.chunk_bytes = GetParam().chunk_bytes;
    options.threads = GetParam().threads;
    return options;
  }
  MemoryFileSystem file_system_;
};

TEST_P(SnapshotWriterVariants, AFullSnapshotHoldsEveryByteAndTheMachine) {
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    Random random(seed);
    const auto memory = make_memory(two_regions(), GetParam().page_size);
    fill_randomly(*memory, random);
    const std::string path = "/full" + std::to_string(seed);
    const auto report = save(file_system_, path, *memory, options());
    ASSERT_TRUE(report) << report.error().to_string();
    const auto chain = SnapshotChain::open(file_system_, path);
    ASSERT_TRUE(chain) << chain.error().to_string();
    EXPECT_EQ((*chain)->manifest().machine, sample_machine());
    EXPECT_EQ((*chain)->manifest().id, report->id);
    EXPECT_EQ((*chain)->leaf().root(), report->root);
    EXPECT_EQ(report->zero_bytes + report->raw_bytes, memory->size_bytes());
    for (const CheckChunks check : {CheckChunks::kNo, CheckChunks::kYes}) {
      const auto bytes = all_bytes(**chain, check);
      ASSERT_TRUE(bytes) << bytes.error().to_string();
      EXPECT_EQ(*bytes, all_bytes(*memory));
    }
    const auto verified = verify(file_system_, path, 2, {});
    ASSERT_TRUE(verified);
    EXPECT_TRUE(verified->findings.empty()) << to_string(verified->findings.front());
  }
}

TEST_P(SnapshotWriterVariants, AChainOfDifferencesHoldsEveryByte) {
  Random random(11);
  const auto memory = make_memory(two_regions(), GetParam().page_size);
  fill_randomly(*memory, random);
  ASSERT_TRUE(save(file_system_, "/0", *memory, options()));
  for (int depth = 1; depth <= 8; ++depth) {
    const auto parent = SnapshotChain::open(file_system_, "/" + std::to_string(depth - 1));
    ASSERT_TRUE(parent) << parent.error().to_string();
    const GpaRanges dirty = dirty_randomly(*memory, random, depth % 3 == 0 ? 2 : 30);
    WriterOptions differential = options();
    differential.parent = parent->get();
    const std::string path = "/" + std::to_string(depth);
    const auto report = save(file_system_, path, *memory, differential, dirty);
    ASSERT_TRUE(report) << report.error().to_string();
    EXPECT_EQ(report->considered_bytes, total_bytes(dirty));
    const auto chain = SnapshotChain::open(file_system_, path);
    ASSERT_TRUE(chain) << chain.error().to_string();
    EXPECT_EQ((*chain)->depth(), static_cast<std::size_t>(depth) + 1);
    const auto bytes = all_bytes(**chain, CheckChunks::kYes);
    ASSERT_TRUE(bytes) << bytes.error().to_string();
    EXPECT_EQ(*bytes, all_bytes(*memory)) << "depth " << depth;
  }
}

TEST_P(SnapshotWriterVariants, ResolvedExtentsCoverEveryRegionExactlyOnce) {
  Random random(12);
  const auto memory = make_memory(two_regions(), GetParam().page_size);
  fill_randomly(*memory, random);
  ASSERT_TRUE(save(file_system_, "/a", *memory, options()));
  const auto parent = SnapshotChain::open(file_system_, "/a");
  ASSERT_TRUE(parent);
  WriterOptions differential = options();
  differential.parent = parent->get();
  ASSERT_TRUE(save(file_system_, "/b", *memory, differential, dirty_randomly(*memory, random, 5)));
  const auto chain = SnapshotChain::open(file_system_, "/b");
  ASSERT_TRUE(chain);
  auto at = two_regions().front().begin;
  for (const ResolvedExtent& extent : resolve(**chain)) {
    if (at == two_regions().front().end()) {
      at = two_regions().back().begin;
    }
    EXPECT_EQ(extent.range.begin, at);
    EXPECT_NE(extent.kind, ExtentKind::kInherited);
    at = extent.range.end();
  }
  EXPECT_EQ(at, two_regions().back().end());
}

TEST_P(SnapshotWriterVariants, TheSameMemoryGivesTheSamePayloadWithAnyNumberOfThreads) {
  Random random(13);
  const auto memory = make_memory({{Gpa{0}, 12 * kMiB}}, GetParam().page_size);
  fill_randomly(*memory, random);
  WriterOptions one = options();
  one.threads = 1;
  WriterOptions many = options();
  many.threads = 7;
  ASSERT_TRUE(save(file_system_, "/one", *memory, one));
  ASSERT_TRUE(save(file_system_, "/many", *memory, many));
  auto files = file_system_.files();
  // Behind the payload each says whose it is.
  for (const char* const file : {"/one/memory", "/many/memory"}) {
    ASSERT_GT(files[file].size(), kPayloadMarkBytes);
    files[file].resize(files[file].size() - kPayloadMarkBytes);
  }
  EXPECT_EQ(files["/one/memory"], files["/many/memory"]);
  const auto a = SnapshotReader::open(file_system_, "/one");
  const auto b = SnapshotReader::open(file_system_, "/many");
  ASSERT_TRUE(a && b);
  EXPECT_EQ((*a)->manifest().extents, (*b)->manifest().extents);
}

INSTANTIATE_TEST_SUITE_P(
    All, SnapshotWriterVariants,
    ::testing::Values(
        Variant{"mappable", Layout::kMappable, Codec::kNone, 64U << 10U, 4096, 2},
        Variant{"mappable_small_chunks", Layout::kMappable, Codec::kNone, 4096, 4096, 3},
        Variant{"mappable_large_chunks", Layout::kMappable, Codec::kNone, 2U << 20U, 4096, 2},
        Variant{"mappable_16k_pages", Layout::kMappable, Codec::kNone, 64U << 10U, 16384, 2},
        Variant{"packed", Layout::kPacked, Codec::kNone, 64U << 10U, 4096, 2},
        Variant{"packed_one_thread", Layout::kPacked, Codec::kNone, 128U << 10U, 16384, 1},
        Variant{"packed_lz4", Layout::kPacked, Codec::kLz4, 64U << 10U, 4096, 2},
        Variant{"packed_lz4_small_chunks", Layout::kPacked, Codec::kLz4, 4096, 4096, 4},
        Variant{"packed_lz4_large_chunks", Layout::kPacked, Codec::kLz4, 2U << 20U, 16384, 2}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

class SnapshotWriterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Random random(3);
    fill_randomly(*memory_, random);
  }
  std::unique_ptr<GuestMemory> memory_ = make_memory({{Gpa{0}, 2 * kMiB}});
  MemoryFileSystem file_system_;
};

TEST_F(SnapshotWriterTest, MemoryThatIsAllZeroStoresNothing) {
  const auto zero = make_memory({{Gpa{0}, 8 * kMiB}});
  WriterOptions options;
  options.layout = Layout::kPacked;
  const auto report = save(file_system_, "/zero", *zero, options);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->stored_bytes, 0U);
  EXPECT_EQ(report->zero_bytes, 8 * kMiB);
  const auto reader = SnapshotReader::open(file_system_, "/zero");
  ASSERT_TRUE(reader) << reader.error().to_string();
  EXPECT_EQ((*reader)->manifest().extents.size(), 1U);
}

TEST_F(SnapshotWriterTest, ADifferenceOfNothingInheritsEverything) {
  ASSERT_TRUE(save(file_system_, "/a", *memory_));
  const auto parent = SnapshotChain::open(file_system_, "/a");
  ASSERT_TRUE(parent);
  WriterOptions options;
  options.parent = parent->get();
  const auto report = save(file_system_, "/b", *memory_, options, {});
  ASSERT_TRUE(report) << report.error().to_string();
  EXPECT_EQ(report->stored_bytes, 0U);
  const auto chain = SnapshotChain::open(file_system_, "/b");
  ASSERT_TRUE(chain);
  EXPECT_EQ(*all_bytes(**chain, CheckChunks::kYes), all_bytes(*memory_));
}

TEST_F(SnapshotWriterTest, RandomSinglePagesCostAtMostTwoPercentMoreThanThemselves) {
  const auto memory = make_memory({{Gpa{0}, 64 * kMiB}});
  TemporaryDirectory directory;
  FileSystem& host = posix_file_system();
  ASSERT_TRUE(save(host, directory / "base", *memory));
  const auto parent = SnapshotChain::open(host, directory / "base");
  ASSERT_TRUE(parent);
  GpaRanges dirty;
  for (std::uint64_t page = 1; page < 64 * kMiB / 4096; page += 16) {
    fill_page(*memory, Gpa{page * 4096}, static_cast<std::uint8_t>(page | 1U));
    dirty.push_back({Gpa{page * 4096}, 4096});
  }
  for (const Layout layout : {Layout::kPacked, Layout::kMappable}) {
    WriterOptions options;
    options.layout = layout;
    options.parent = parent->get();
    const std::string path = directory / std::string(name_of(layout));
    const auto report = save(host, path, *memory, options, dirty);
    ASSERT_TRUE(report) << report.error().to_string();
    EXPECT_EQ(report->stored_bytes, total_bytes(dirty));
    EXPECT_LE(report->written_bytes(), total_bytes(dirty) * 102 / 100);
    // And so says the host, in 512-byte blocks.
    struct stat facts = {};
    ASSERT_EQ(::stat((path + "/memory").c_str(), &facts), 0);
    EXPECT_LE(static_cast<std::uint64_t>(facts.st_blocks) * 512, total_bytes(dirty) * 102 / 100);
  }
}

TEST_F(SnapshotWriterTest, ExistingNamesAreRefusedUnlessReplacementIsAskedFor) {
  ASSERT_TRUE(save(file_system_, "/a", *memory_));
  const auto before = file_system_.files();
  const auto again = save(file_system_, "/a", *memory_);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::kAlreadyExists);
  EXPECT_THAT(again.error().message, HasSubstr("/a"));
  EXPECT_EQ(file_system_.files(), before);
  WriterOptions options;
  options.replace_existing = true;
  const auto replaced = save(file_system_, "/a", *memory_, options);
  ASSERT_TRUE(replaced) << replaced.error().to_string();
  EXPECT_EQ(file_system_.files().size(), 3U);
  EXPECT_EQ((*SnapshotReader::open(file_system_, "/a"))->manifest().id, replaced->id);
}

TEST_F(SnapshotWriterTest, WhatIsNotASnapshotIsNeverReplaced) {
  ASSERT_TRUE(file_system_.create_directory("/precious"));
  ASSERT_TRUE(file_system_.create_file("/precious/thesis"));
  WriterOptions options;
  options.replace_existing = true;
  const auto outcome = save(file_system_, "/precious", *memory_, options);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::kAlreadyExists);
  EXPECT_THAT(outcome.error().message, HasSubstr("not a snapshot"));
  EXPECT_EQ(file_system_.files().size(), 1U);
}

TEST_F(SnapshotWriterTest, AnAncestorIsNeverReplacedByItsDescendant) {
  ASSERT_TRUE(save(file_system_, "/a", *memory_));
  const auto parent = SnapshotChain::open(file_system_, "/a");
  WriterOptions options;
  options.parent = parent->get();
  options.replace_existing = true;
  const auto outcome = save(file_system_, "/a", *memory_, options, {});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(outcome.error().message, HasSubstr("ancestor"));
  EXPECT_TRUE(SnapshotChain::open(file_system_, "/a"));
}

TEST_F(SnapshotWriterTest, CancellingRemovesEverythingThatWasWritten) {
  std::atomic<bool> cancel = false;
  WriterOptions options;
  options.supervision.cancel = &cancel;
  options.supervision.progress = [&](std::uint64_t done, std::uint64_t total) {
    EXPECT_LE(done, total);
    cancel = true;
  };
  const auto outcome = save(file_system_, "/a", *memory_, options);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::kIo);
  EXPECT_THAT(outcome.error().message, HasSubstr("cancelled"));
  EXPECT_TRUE(file_system_.files().empty());
}

TEST_F(SnapshotWriterTest, ProgressNeverFallsAndEndsAtItsTotal) {
  std::uint64_t last = 0;
  std::uint64_t expected = 0;
  WriterOptions options;
  options.threads = 4;
  options.supervision.progress = [&](std::uint64_t done, std::uint64_t total) {
    EXPECT_GE(done, last);
    last = done;
    expected = total;
  };
  ASSERT_TRUE(save(file_system_, "/a", *memory_, options));
  EXPECT_EQ(last, 2 * kMiB);
  EXPECT_EQ(expected, 2 * kMiB);
}

TEST_F(SnapshotWriterTest, AWriterThatIsDroppedLeavesNothing) {
  {
    auto writer = SnapshotWriter::begin(file_system_, "/a", sample_facts(), {});
    ASSERT_TRUE(writer);
    ASSERT_TRUE(writer->put_memory(*memory_));
    EXPECT_FALSE(file_system_.files().empty());
  }
  EXPECT_TRUE(file_system_.files().empty());
  EXPECT_TRUE(file_system_.list_directory("/")->empty());
}

TEST_F(SnapshotWriterTest, TemporariesOfDeadSaversAreRemovedAndThoseOfLivingOnesAreNot) {
  auto dead = file_system_.create_directory("/.a.stasis-dead");
  ASSERT_TRUE(dead && file_system_.create_file("/.a.stasis-dead/memory"));
  dead->reset();
  const auto alive = file_system_.create_directory("/.a.stasis-alive");
  ASSERT_TRUE(alive && file_system_.create_file("/.a.stasis-alive/memory"));
  auto other = file_system_.create_directory("/.b.stasis-dead");
  ASSERT_TRUE(other);
  other->reset();
  ASSERT_TRUE(save(file_system_, "/a", *memory_));
  EXPECT_THAT(*file_system_.list_directory("/"),
              ::testing::UnorderedElementsAre("a", ".a.stasis-alive", ".b.stasis-dead"));
}

TEST_F(SnapshotWriterTest, ContradictoryRequestsAreRefused) {
  const auto expect_invalid = [&](WriterOptions options, std::string_view words) {
    const auto outcome = save(file_system_, "/x", *memory_, std::move(options));
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().code, Errc::kInvalidArgument);
    EXPECT_THAT(outcome.error().message, HasSubstr(std::string(words)));
  };
  WriterOptions options;
  options.codec = Codec::kLz4;
  expect_invalid(options, "packed");
  options = {};
  options.chunk_bytes = 5000;
  expect_invalid(options, "chunk size of 5000");
  options.chunk_bytes = 4U << 20U;
  expect_invalid(options, "chunk size");
  options = {};
  options.threads = 0;
  expect_invalid(options, "threads");
  EXPECT_TRUE(file_system_.files().empty());
}

TEST_F(SnapshotWriterTest, DirtyRangesMustBeWholePagesOfTheGuest) {
  ASSERT_TRUE(save(file_system_, "/a", *memory_));
  const auto parent = SnapshotChain::open(file_system_, "/a");
  WriterOptions options;
  options.parent = parent->get();
  for (const GpaRanges& bad :
       {GpaRanges{{Gpa{1}, 4096}}, GpaRanges{{Gpa{2 * kMiB}, 4096}},
        GpaRanges{{Gpa{4096}, 4096}, {Gpa{0}, 4096}}, GpaRanges{{Gpa{0}, 3 * kMiB}}}) {
    const auto outcome = save(file_system_, "/b", *memory_, options, bad);
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().code, Errc::kInvalidArgument);
  }
}

TEST_F(SnapshotWriterTest, AParentWithOtherMemoryIsRefused) {
  ASSERT_TRUE(save(file_system_, "/a", *make_memory({{Gpa{0}, 1 * kMiB}})));
  const auto parent = SnapshotChain::open(file_system_, "/a");
  WriterOptions options;
  options.parent = parent->get();
  const auto outcome = save(file_system_, "/b", *memory_, options, {});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::kMismatch);
}

TEST_F(SnapshotWriterTest, MergingAChainGivesAFullSnapshotWithTheSameContents) {
  ASSERT_TRUE(save(file_system_, "/0", *memory_));
  Random random(5);
  for (int depth = 1; depth <= 4; ++depth) {
    const auto parent = SnapshotChain::open(file_system_, "/" + std::to_string(depth - 1));
    WriterOptions options;
    options.layout = depth % 2 == 0 ? Layout::kPacked : Layout::kMappable;
    options.codec = depth % 2 == 0 ? Codec::kLz4 : Codec::kNone;
    options.parent = parent->get();
    ASSERT_TRUE(save(file_system_, "/" + std::to_string(depth), *memory_, options,
                     dirty_randomly(*memory_, random, 20)));
  }
  const auto chain = SnapshotChain::open(file_system_, "/4");
  ASSERT_TRUE(chain);
  for (const Codec codec : {Codec::kNone, Codec::kLz4}) {
    MergeOptions options;
    options.layout = Layout::kPacked;
    options.codec = codec;
    const std::string path = "/merged-" + std::string(name_of(codec));
    const auto report = merge(file_system_, **chain, path, options);
    ASSERT_TRUE(report) << report.error().to_string();
    const auto merged = SnapshotChain::open(file_system_, path);
    ASSERT_TRUE(merged);
    EXPECT_EQ((*merged)->depth(), 1U);
    EXPECT_EQ((*merged)->manifest().machine, (*chain)->manifest().machine);
    EXPECT_EQ(*all_bytes(**merged, CheckChunks::kYes), all_bytes(*memory_));
    const auto differences = diff(**chain, **merged, 2, {});
    ASSERT_TRUE(differences);
    EXPECT_TRUE(differences->pages.empty());
    EXPECT_TRUE(differences->fields.empty());
  }
}

TEST_F(SnapshotWriterTest, DiffNamesThePagesThatWereWrittenAndNoOthers) {
  ASSERT_TRUE(save(file_system_, "/a", *memory_));
  const GpaRanges written = {{Gpa{0x5000}, 4096}, {Gpa{0x20000}, 8192}};
  fill_page(*memory_, Gpa{0x5000}, 0xa1);
  fill_page(*memory_, Gpa{0x20000}, 0xa2);
  fill_page(*memory_, Gpa{0x21000}, 0xa3);
  const auto parent = SnapshotChain::open(file_system_, "/a");
  WriterOptions options;
  options.parent = parent->get();
  // Reported dirty, but one page more than was written.
  ASSERT_TRUE(
      save(file_system_, "/b", *memory_, options, {{Gpa{0x5000}, 8192}, {Gpa{0x20000}, 8192}}));
  const auto child = SnapshotChain::open(file_system_, "/b");
  ASSERT_TRUE(child);
  const auto differences = diff(**parent, **child, 2, {});
  ASSERT_TRUE(differences) << differences.error().to_string();
  EXPECT_EQ(differences->pages, written);
}

}  // namespace
}  // namespace stasis::snapshot
