// Snapshots that earlier versions wrote must be readable for ever.
//
// If a test here fails, the format has changed under existing files: repair the code, never the
// files in golden/. A new feature of the format gets a new snapshot there: add it to
// write_golden_snapshots(), run
//   STASIS_GOLDEN_DIRECTORY=DIR snapshot_golden_test --gtest_also_run_disabled_tests
// copy the new snapshot and its .txt alone to golden/, and add its line to hashes.inc.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include <gtest/gtest.h>

#include "snapshot/checksum.h"
#include "snapshot/operations.h"
#include "tests/snapshot/samples.h"

namespace stasis::snapshot {
namespace {

struct Golden {
  const char* name;
  const char* root;      // The content root: every byte but the payload.
  const char* contents;  // XXH3-128 of the guest memory.
  Architecture architecture;
  Layout layout;
  Codec codec;
  std::size_t depth;
};
void PrintTo(const Golden& golden, std::ostream* out) {
  *out << golden.name;
}

constexpr Golden kGolden[] = {
#include "tests/snapshot/golden/hashes.inc"
};

std::string golden_path(const std::string& name) {
  return std::string(STASIS_SOURCE_DIR) + "/tests/snapshot/golden/" + name;
}

// The memory of each step, so that values can be compared with values and not only with a hash.
std::unique_ptr<GuestMemory> golden_memory(int step) {
  auto memory = make_memory({{Gpa{0}, 96 * kKiB}, {Gpa{1 * kMiB}, 32 * kKiB}});
  for (std::uint64_t page = 0; page < 8; ++page) {
    fill_page(*memory, Gpa{page * 8192}, static_cast<std::uint8_t>(page));
    fill_page(*memory, Gpa{1 * kMiB + page * 4096}, static_cast<std::uint8_t>(0x40 + page));
  }
  if (step >= 1) {
    fill_page(*memory, Gpa{0x3000}, 0xd1);
    fill_page(*memory, Gpa{0x4000}, 0);
  }
  if (step >= 2) {
    fill_page(*memory, Gpa{1 * kMiB}, 0xd2);
  }
  return memory;
}

std::string hash_of(const std::vector<std::byte>& bytes) {
  const auto sum = wide_checksum(bytes);
  return to_string(ContentRoot{sum[0], sum[1]});
}

// Every value of the machine, as lines: kept beside each golden snapshot as NAME.txt.
std::string machine_text(const MachineState& machine) {
  std::ostringstream text;
  for (std::size_t i = 0; i < machine.vcpus.size(); ++i) {
    text << "vcpu " << i << " activity " << static_cast<int>(machine.activities[i]) << " wake "
         << machine.wake_pending[i] << "\n";
    for (const NamedValue& value : named_values(machine.vcpus[i])) {
      text << value.name << " " << value.value << "\n";
    }
  }
  for (const DeviceState& device : machine.devices) {
    text << "device " << device.name << " version " << device.version << " hash "
         << hash_of(device.bytes) << "\n";
  }
  return text.str();
}

std::string file_text(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class GoldenSnapshot : public ::testing::TestWithParam<Golden> {};

TEST_P(GoldenSnapshot, IsReadAsItWasWritten) {
  const Golden& golden = GetParam();
  const std::string path = golden_path(golden.name);
  const auto chain = SnapshotChain::open(posix_file_system(), path);
  ASSERT_TRUE(chain) << chain.error().to_string();
  const Manifest& manifest = (*chain)->manifest();
  EXPECT_EQ(to_string((*chain)->leaf().root()), golden.root);
  EXPECT_EQ(manifest.architecture, golden.architecture);
  EXPECT_EQ(manifest.layout, golden.layout);
  EXPECT_EQ(manifest.codec, golden.codec);
  EXPECT_EQ((*chain)->depth(), golden.depth);
  EXPECT_EQ(machine_text(manifest.machine), file_text(path + ".txt"));
  const auto bytes = all_bytes(**chain, CheckChunks::kYes);
  ASSERT_TRUE(bytes) << bytes.error().to_string();
  EXPECT_EQ(*bytes, all_bytes(*golden_memory(static_cast<int>(golden.depth) - 1)));
  EXPECT_EQ(hash_of(*bytes), golden.contents);
  const auto report = verify(posix_file_system(), path, 1, {});
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->findings.empty()) << to_string(report->findings.front());
}

INSTANTIATE_TEST_SUITE_P(All, GoldenSnapshot, ::testing::ValuesIn(kGolden),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

Result<void> write_one(const std::string& directory, const std::string& name,
                       Architecture architecture, Layout layout, Codec codec,
                       const std::string& parent, const GpaRanges& dirty, int step) {
  WriterOptions options;
  options.layout = layout;
  options.codec = codec;
  std::unique_ptr<SnapshotChain> chain;
  if (!parent.empty()) {
    STASIS_ASSIGN(chain, SnapshotChain::open(posix_file_system(), directory + "/" + parent));
    options.parent = chain.get();
  }
  const std::string path = directory + "/" + name;
  STASIS_ASSIGN(SnapshotWriter writer, SnapshotWriter::begin(posix_file_system(), path,
                                                             sample_facts(architecture), options));
  Random random(static_cast<std::uint64_t>(architecture));
  const MachineState machine = random_machine(random, architecture, 2);
  std::ofstream(path + ".txt") << machine_text(machine);
  writer.put_machine(machine);
  const auto memory = golden_memory(step);
  STASIS_TRY(parent.empty() ? writer.put_memory(*memory) : writer.put_memory(*memory, dirty));
  STASIS_ASSIGN(const WriteReport report, std::move(writer).commit());
  std::printf("{\"%s\", \"%s\", \"%s\", Architecture::%s, Layout::%s, Codec::%s, %d},\n",
              name.c_str(), to_string(report.root).c_str(), hash_of(all_bytes(*memory)).c_str(),
              architecture == Architecture::kX86_64  ? "kX86_64"
              : architecture == Architecture::kArm64 ? "kArm64"
                                                     : "kToy",
              layout == Layout::kMappable ? "kMappable" : "kPacked",
              codec == Codec::kLz4 ? "kLz4" : "kNone", step + 1);
  return {};
}

Result<void> write_golden_snapshots(const std::string& to) {
  constexpr auto kX86 = Architecture::kX86_64;
  STASIS_TRY(write_one(to, "v1_toy_mappable", Architecture::kToy, Layout::kMappable, Codec::kNone,
                       "", {}, 0));
  STASIS_TRY(write_one(to, "v1_arm64_packed", Architecture::kArm64, Layout::kPacked, Codec::kNone,
                       "", {}, 0));
  STASIS_TRY(write_one(to, "v1_x86_lz4", kX86, Layout::kPacked, Codec::kLz4, "", {}, 0));
  STASIS_TRY(write_one(to, "v1_x86_diff", kX86, Layout::kPacked, Codec::kLz4, "v1_x86_lz4",
                       {{Gpa{0x3000}, 8192}}, 1));
  STASIS_TRY(write_one(to, "v1_x86_diff_of_diff", kX86, Layout::kMappable, Codec::kNone,
                       "v1_x86_diff", {{Gpa{1 * kMiB}, 4096}}, 2));
  // With a mark behind its payload.
  return write_one(to, "v1_toy_marked", Architecture::kToy, Layout::kMappable, Codec::kNone, "", {},
                   0);
}

// Not a test: see the top of the file.
TEST(DISABLED_Golden, Write) {
  const char* const directory = std::getenv("STASIS_GOLDEN_DIRECTORY");
  ASSERT_NE(directory, nullptr) << "set STASIS_GOLDEN_DIRECTORY to an empty directory";
  const auto written = write_golden_snapshots(directory);
  EXPECT_TRUE(written) << written.error().to_string();
}

}  // namespace
}  // namespace stasis::snapshot
