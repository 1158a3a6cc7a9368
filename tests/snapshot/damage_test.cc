// Damage of every kind to snapshots on disk: always a clear error or the same data, never a crash
// and never other data.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/manifest_codec.h"
#include "snapshot/operations.h"
#include "tests/snapshot/memory_file_system.h"
#include "tests/snapshot/samples.h"

namespace stasis::snapshot {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

class DamageTest : public ::testing::Test {
 protected:
  static constexpr const char* kFiles[] = {"manifest.capnp", "index.capnp", "memory"};

  void SetUp() override {
    for (std::uint64_t page = 0; page < 8; ++page) {
      fill_page(*memory_, Gpa{page * 4096}, static_cast<std::uint8_t>(page / 2));
    }
    WriterOptions options;
    options.layout = Layout::kPacked;
    options.codec = Codec::kLz4;
    options.chunk_bytes = 4096;
    ASSERT_TRUE(save(file_system_, "/lz4", *memory_, options));
    options.codec = Codec::kNone;
    ASSERT_TRUE(save(file_system_, "/raw", *memory_, options));
    ASSERT_TRUE(save(file_system_, "/mappable", *memory_));
    const auto parent = SnapshotChain::open(file_system_, "/lz4");
    ASSERT_TRUE(parent);
    fill_page(*memory_, Gpa{4096}, 0xee);
    options.parent = parent->get();
    ASSERT_TRUE(save(file_system_, "/diff", *memory_, options, {{Gpa{4096}, 4096}}));
    for (const char* const name : {"/lz4", "/raw", "/mappable", "/diff"}) {
      intact_[name] = *all_bytes(**SnapshotChain::open(file_system_, name), CheckChunks::kYes);
    }
  }

  // True if the damage was noticed; a failure of the test if other data came out.
  bool noticed(const std::string& path) {
    const auto chain = SnapshotChain::open(file_system_, path);
    const auto verified = verify(file_system_, path, 1, {});
    EXPECT_TRUE(verified) << verified.error().to_string();
    if (!chain) {
      EXPECT_THAT(chain.error().message, HasSubstr(path));
      EXPECT_FALSE(verified->findings.empty());
      return true;
    }
    const auto bytes = all_bytes(**chain, CheckChunks::kYes);
    if (!bytes) {
      EXPECT_EQ(bytes.error().code, Errc::kCorruption);
      EXPECT_THAT(bytes.error().message, HasSubstr(path));
      EXPECT_FALSE(verified->findings.empty());
      return true;
    }
    EXPECT_EQ(*bytes, intact_[path]);
    EXPECT_EQ((*chain)->manifest().machine, sample_machine());
    EXPECT_TRUE(verified->findings.empty());
    return false;
  }

  std::unique_ptr<GuestMemory> memory_ = make_memory({{Gpa{0}, 64 * kKiB}});
  MemoryFileSystem file_system_;
  std::map<std::string, std::vector<std::byte>> intact_;
};

TEST_F(DamageTest, EveryTruncationIsNoticed) {
  for (const char* const name : {"/lz4", "/raw", "/mappable", "/diff"}) {
    for (const char* const file : kFiles) {
      const std::string path = join_path(name, file);
      const std::vector<std::byte> whole = file_system_.files().at(path);
      const std::size_t step = whole.size() > 8192 ? 509 : 1;
      for (std::size_t length = 0; length < whole.size(); length += step) {
        file_system_.overwrite(
            path, {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)});
        ASSERT_TRUE(noticed(name)) << path << " cut to " << length;
      }
      std::vector<std::byte> longer = whole;
      longer.resize(whole.size() + 8);
      file_system_.overwrite(path, longer);
      ASSERT_TRUE(noticed(name)) << path << " extended";
      file_system_.overwrite(path, whole);
    }
  }
}

TEST_F(DamageTest, EveryFlippedBitOfManifestAndIndexIsNoticed) {
  for (const char* const name : {"/lz4", "/diff"}) {
    for (const char* const file : {"manifest.capnp", "index.capnp"}) {
      const std::string path = join_path(name, file);
      const std::vector<std::byte> whole = file_system_.files().at(path);
      for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
        std::vector<std::byte> damaged = whole;
        damaged[bit / 8] ^= std::byte{1} << static_cast<int>(bit % 8);
        file_system_.overwrite(path, damaged);
        const auto reader = SnapshotReader::open(file_system_, name);
        const bool seen = !reader || !(*reader)->read_index();
        ASSERT_TRUE(seen) << path << " bit " << bit;
      }
      file_system_.overwrite(path, whole);
    }
  }
}

TEST_F(DamageTest, AFlippedBitOfThePayloadIsNoticedOrHarmless) {
  for (const char* const name : {"/lz4", "/raw", "/mappable"}) {
    const std::string path = join_path(name, "memory");
    const std::vector<std::byte> whole = file_system_.files().at(path);
    const std::size_t step = whole.size() > 4096 ? 97 : 1;
    int seen = 0;
    for (std::size_t bit = 0; bit < whole.size() * 8; bit += step) {
      std::vector<std::byte> damaged = whole;
      damaged[bit / 8] ^= std::byte{1} << static_cast<int>(bit % 8);
      file_system_.overwrite(path, damaged);
      seen += noticed(name) ? 1 : 0;
    }
    EXPECT_GT(seen, 0);
    file_system_.overwrite(path, whole);
  }
}

TEST_F(DamageTest, FindingsNameFileOffsetGuestAddressAndCause) {
  std::vector<std::byte> payload = file_system_.files().at("/raw/memory");
  payload[4096 + 5] ^= std::byte{4};  // The second stored page, which is guest page 3.
  file_system_.overwrite("/raw/memory", payload);
  const auto report = verify(file_system_, "/raw", 2, {});
  ASSERT_TRUE(report);
  ASSERT_EQ(report->findings.size(), 1U);
  const Finding& finding = report->findings.front();
  EXPECT_EQ(finding.file, "/raw/memory");
  EXPECT_EQ(finding.offset, 4096U);
  EXPECT_EQ(finding.range, (GpaRange{Gpa{3 * 4096}, 4096}));
  EXPECT_THAT(finding.cause, HasSubstr("checksum"));
}

TEST_F(DamageTest, FilesOfAnotherSnapshotAreNoticed) {
  const auto files = file_system_.files();
  for (const char* const file : kFiles) {
    // Same memory, same layout, same sizes, another page contents.
    fill_page(*memory_, Gpa{4096 * 4}, 0x77);
    WriterOptions options;
    options.layout = Layout::kPacked;
    options.chunk_bytes = 4096;
    options.replace_existing = true;
    ASSERT_TRUE(save(file_system_, "/other", *memory_, options));
    ASSERT_TRUE(save(file_system_, "/victim", *memory_, options));
    fill_page(*memory_, Gpa{4096 * 4}, 0x78);
    ASSERT_TRUE(save(file_system_, "/other", *memory_, options));
    const auto swapped = file_system_.files().at(join_path("/other", file));
    file_system_.overwrite(join_path("/victim", file), swapped);
    const auto report = verify(file_system_, "/victim", 1, {});
    ASSERT_TRUE(report);
    EXPECT_FALSE(report->findings.empty()) << file;
  }
}

TEST_F(DamageTest, MissingFilesAreNamed) {
  for (const char* const file : {"index.capnp", "memory"}) {
    const auto copy = file_system_.after_crash(Survivors::kAll);
    ASSERT_TRUE(copy->remove_file(join_path("/raw", file)));
    const auto reader = SnapshotReader::open(*copy, "/raw");
    ASSERT_FALSE(reader);
    EXPECT_EQ(reader.error().code, Errc::kCorruption);
    EXPECT_THAT(reader.error().message, HasSubstr(join_path("/raw", file)));
    EXPECT_THAT(reader.error().message, HasSubstr("missing"));
  }
  ASSERT_TRUE(file_system_.remove_file("/raw/manifest.capnp"));
  EXPECT_EQ(SnapshotReader::open(file_system_, "/raw").error().code, Errc::kNotFound);
  EXPECT_EQ(SnapshotReader::open(file_system_, "/nothing").error().code, Errc::kNotFound);
}

// ---- Chains ----

TEST_F(DamageTest, AParentIsFoundAmongTheSiblingsWhenItWasRenamed) {
  ASSERT_TRUE(file_system_.rename("/lz4", "/renamed"));
  const auto chain = SnapshotChain::open(file_system_, "/diff");
  ASSERT_TRUE(chain) << chain.error().to_string();
  EXPECT_EQ((*chain)->at(1).path(), "/renamed");
  EXPECT_EQ(*all_bytes(**chain, CheckChunks::kYes), intact_["/diff"]);
}

TEST_F(DamageTest, AMissingParentIsNamedWithThePlacesWhereItWasLookedFor) {
  const SnapshotId parent = (*SnapshotReader::open(file_system_, "/lz4"))->manifest().id;
  ASSERT_TRUE(file_system_.rename("/lz4", "/.hidden"));
  const auto chain = SnapshotChain::open(file_system_, "/diff");
  ASSERT_FALSE(chain);
  EXPECT_EQ(chain.error().code, Errc::kNotFound);
  EXPECT_THAT(chain.error().message, HasSubstr(to_string(parent)));
  EXPECT_THAT(chain.error().message, HasSubstr("/diff/../lz4"));
}

TEST_F(DamageTest, AnotherSnapshotInTheParentsPlaceIsAMismatchThatNamesBothIds) {
  const SnapshotId parent = (*SnapshotReader::open(file_system_, "/lz4"))->manifest().id;
  const SnapshotId wrong = (*SnapshotReader::open(file_system_, "/raw"))->manifest().id;
  ASSERT_TRUE(file_system_.exchange("/lz4", "/raw"));
  ASSERT_TRUE(file_system_.rename("/raw", "/.hidden"));
  const auto chain = SnapshotChain::open(file_system_, "/diff");
  ASSERT_FALSE(chain);
  EXPECT_EQ(chain.error().code, Errc::kMismatch);
  EXPECT_THAT(chain.error().message, HasSubstr(to_string(parent)));
  EXPECT_THAT(chain.error().message, HasSubstr(to_string(wrong)));
}

// Writes manifests by hand: such chains cannot be made by saving.
class ForgedChainTest : public ::testing::Test {
 protected:
  // A differential snapshot of one page that inherits it, or a full one that is zero.
  ContentRoot forge(const std::string& path, const SnapshotId& id, std::optional<ParentLink> parent,
                    std::uint64_t pages = 1, Architecture architecture = Architecture::kToy) {
    Manifest manifest;
    manifest.id = id;
    manifest.parent = std::move(parent);
    manifest.architecture = architecture;
    manifest.layout = Layout::kPacked;
    manifest.regions = {{{Gpa{0}, pages * 4096}}};
    manifest.extents = {{{Gpa{0}, pages * 4096},
                         manifest.parent ? ExtentKind::kInherited : ExtentKind::kZero,
                         0,
                         0}};
    Random random(1);
    manifest.machine = random_machine(random, architecture, 1);
    const auto bytes = encode_manifest(manifest);
    EXPECT_TRUE(bytes) << bytes.error().to_string();
    EXPECT_TRUE(file_system_.create_directory(path));
    for (const char* const file : {"/manifest.capnp", "/index.capnp", "/memory"}) {
      EXPECT_TRUE(file_system_.create_file(path + file));
    }
    file_system_.overwrite(path + "/manifest.capnp", *bytes);
    return decode_header(*bytes)->root;
  }

  MemoryFileSystem file_system_;
};

TEST_F(ForgedChainTest, ACycleIsRefused) {
  const SnapshotId a = random_snapshot_id();
  const SnapshotId b = random_snapshot_id();
  const ContentRoot bottom = forge("/bottom", a, std::nullopt);
  const ContentRoot middle = forge("/middle", b, ParentLink{a, bottom, "../bottom"});
  forge("/top", a, ParentLink{b, middle, "../middle"});
  const auto chain = SnapshotChain::open(file_system_, "/top");
  ASSERT_FALSE(chain);
  EXPECT_EQ(chain.error().code, Errc::kCorruption);
  EXPECT_THAT(chain.error().message, HasSubstr("cycle"));
}

TEST_F(ForgedChainTest, TheDeepestChainIsReadAndADeeperOneIsRefused) {
  SnapshotId id = random_snapshot_id();
  ContentRoot root = forge("/0", id, std::nullopt);
  for (std::size_t depth = 1; depth <= kChainDepthMax; ++depth) {
    const SnapshotId next = random_snapshot_id();
    root = forge("/" + std::to_string(depth), next,
                 ParentLink{id, root, "../" + std::to_string(depth - 1)});
    id = next;
  }
  const auto deepest = SnapshotChain::open(file_system_, "/" + std::to_string(kChainDepthMax - 1));
  ASSERT_TRUE(deepest) << deepest.error().to_string();
  EXPECT_EQ((*deepest)->depth(), kChainDepthMax);
  EXPECT_EQ(resolve(**deepest).size(), 1U);
  const auto deeper = SnapshotChain::open(file_system_, "/" + std::to_string(kChainDepthMax));
  ASSERT_FALSE(deeper);
  EXPECT_EQ(deeper.error().code, Errc::kCorruption);
  EXPECT_THAT(deeper.error().message, HasSubstr("1024"));
}

TEST_F(ForgedChainTest, ParentsOfOtherMemoryOrArchitectureAreMismatches) {
  const SnapshotId a = random_snapshot_id();
  const ContentRoot root = forge("/base", a, std::nullopt);
  forge("/memory", random_snapshot_id(), ParentLink{a, root, "../base"}, 2);
  forge("/cpu", random_snapshot_id(), ParentLink{a, root, "../base"}, 1, Architecture::kX86_64);
  const auto memory = SnapshotChain::open(file_system_, "/memory");
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().code, Errc::kMismatch);
  EXPECT_THAT(memory.error().message, HasSubstr("regions"));
  const auto cpu = SnapshotChain::open(file_system_, "/cpu");
  ASSERT_FALSE(cpu);
  EXPECT_EQ(cpu.error().code, Errc::kMismatch);
  EXPECT_THAT(cpu.error().message, HasSubstr("architectures"));
}

}  // namespace
}  // namespace stasis::snapshot
