// One test for each rule that schemas/manifest.capnp states: a file that breaks it, and nothing
// else, is refused with a message that names it. The files are made with the generated code,
// because our own encoder refuses to write them.
#include <cstring>
#include <functional>

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schemas/manifest.capnp.h"
#include "snapshot/checksum.h"
#include "snapshot/manifest_codec.h"
#include "tests/snapshot/samples.h"

namespace stasis::snapshot {
namespace {

using ::testing::HasSubstr;
using Body = schema::Manifest::Builder;
using Header = schema::Header::Builder;
using Mutate = std::function<void(Body)>;

std::vector<std::byte> bytes_of(capnp::MessageBuilder& message) {
  const auto words = capnp::messageToFlatArray(message);
  const auto bytes = std::as_bytes(std::span(words.begin(), words.size()));
  return {bytes.begin(), bytes.end()};
}

kj::Array<capnp::word> words_of(std::span<const std::byte> bytes) {
  auto words = kj::heapArray<capnp::word>(bytes.size() / 8);
  std::memcpy(words.begin(), bytes.data(), words.size() * 8);
  return words;
}

// Differential, packed, lz4, x86, two regions: every rule applies to it.
Manifest full_example() {
  Random random(21);
  Manifest m;
  m.id = random_snapshot_id();
  m.parent = ParentLink{random_snapshot_id(), {1, 2}, "../parent"};
  m.creator = "stasis tests";
  m.cpu_features = {"avx", "avx2", "sse"};
  m.architecture = Architecture::kX86_64;
  m.layout = Layout::kPacked;
  m.codec = Codec::kLz4;
  m.regions = {{{Gpa{0}, 64 * kKiB}}, {{Gpa{1 * kMiB}, 32 * kKiB}}};
  m.extents = {{{Gpa{0}, 16 * kKiB}, ExtentKind::kZero, 0, 0},
               {{Gpa{16 * kKiB}, 16 * kKiB}, ExtentKind::kLz4, 0, 0},
               {{Gpa{32 * kKiB}, 32 * kKiB}, ExtentKind::kRaw, 16 * kKiB, 1},
               {{Gpa{1 * kMiB}, 32 * kKiB}, ExtentKind::kInherited, 0, 0}};
  m.payload_bytes = 48 * kKiB;
  m.chunk_count = 2;
  m.machine = random_machine(random, m.architecture, 2);
  m.machine.devices = {{"console", 1, {}}, {"doorbell", 1, {}}};
  m.labels = {{"a", "1"}, {"b", "2"}};
  return m;
}

Manifest mappable_example() {
  Manifest m = full_example();
  m.layout = Layout::kMappable;
  m.codec = Codec::kNone;
  m.extents[1].kind = ExtentKind::kRaw;
  m.extents[1].file_offset = 16 * kKiB;
  m.extents[2].file_offset = 32 * kKiB;
  m.payload_bytes = mappable_size(m.regions);
  return m;
}

// The file with the manifest message changed, and with the header that belongs to it.
std::vector<std::byte> forge(const Manifest& manifest, const Mutate& mutate,
                             const std::function<void(Header)>& mutate_header = {}) {
  const auto file = encode_manifest(manifest);
  EXPECT_TRUE(file) << file.error().to_string();
  const auto file_words = words_of(*file);
  capnp::FlatArrayMessageReader header_reader(file_words);
  const kj::ArrayPtr<const capnp::word> rest(header_reader.getEnd(), file_words.end());
  capnp::FlatArrayMessageReader body_reader(rest);
  capnp::MallocMessageBuilder body;
  body.setRoot(body_reader.getRoot<schema::Manifest>());
  mutate(body.getRoot<schema::Manifest>());
  const auto body_bytes = bytes_of(body);
  const auto checksum = wide_checksum(body_bytes);
  // Built anew, field by field: what is set twice would leave garbage in the message.
  const auto old = header_reader.getRoot<schema::Header>();
  capnp::MallocMessageBuilder header;
  auto root = header.initRoot<schema::Header>();
  root.setMagic(old.getMagic());
  root.setFormatVersion(old.getFormatVersion());
  root.setId(old.getId());
  if (old.getParentId().size() != 0) {
    root.setParentId(old.getParentId());
  }
  root.setCreator(old.getCreator());
  root.setCreatedNs(old.getCreatedNs());
  root.setBodyBytes(body_bytes.size());
  root.setBodyChecksumLow(checksum[0]);
  root.setBodyChecksumHigh(checksum[1]);
  root.setExplanation(old.getExplanation());
  if (mutate_header) {
    mutate_header(root);
  }
  auto bytes = bytes_of(header);
  bytes.insert(bytes.end(), body_bytes.begin(), body_bytes.end());
  return bytes;
}

struct Rule {
  const char* name;
  const char* words;  // In the error message.
  Mutate breaks;
  bool mappable = false;
};
void PrintTo(const Rule& rule, std::ostream* out) {
  *out << rule.name;
}

class SchemaRule : public ::testing::TestWithParam<Rule> {};

TEST_P(SchemaRule, IsEnforcedByTheDecoder) {
  const Manifest manifest = GetParam().mappable ? mappable_example() : full_example();
  const auto valid = decode_manifest(forge(manifest, [](Body) {}));
  ASSERT_TRUE(valid) << valid.error().to_string();
  ASSERT_EQ(valid->manifest, manifest);
  const auto outcome = decode_manifest(forge(manifest, GetParam().breaks));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::kCorruption);
  EXPECT_THAT(outcome.error().message, HasSubstr(GetParam().words));
}

template <typename Enum>
Enum beyond(int value) {
  return static_cast<Enum>(value);
}

const capnp::Data::Reader kShortData(reinterpret_cast<const kj::byte*>("short"), 5);
using M = schema::Manifest;

std::vector<Rule> identity_rules() {
  return {
      {"id_size", "id is not 16 bytes", [](Body b) { b.setId(kShortData); }},
      {"parent_id_size", "parentId", [](Body b) { b.setParentId(kShortData); }},
      {"parent_root_without_parent", "without a parent", [](Body b) { b.initParentId(0); }},
      {"parent_path_without_parent", "without a parent",
       [](Body b) {
         b.initParentId(0);
         b.setParentRootLow(0);
         b.setParentRootHigh(0);
         for (auto extent : b.getExtents()) {
           extent.setKind(M::ExtentKind::ZERO);
           extent.setFileOffset(0);
         }
         b.setChunkCount(0);
       }},
      {"own_parent", "its own parent", [](Body b) { b.setParentId(b.asReader().getId()); }},
      {"id_like_header", "contradict", [](Body b) { b.getId()[0] ^= 1U; }},
      {"creator_like_header", "contradict", [](Body b) { b.setCreator("someone"); }},
      {"created_like_header", "contradict", [](Body b) { b.setCreatedNs(1); }},
      {"creator_size", "creator", [](Body b) { b.initCreator(kCreatorBytesMax + 1); }},
      {"path_size", "parent path", [](Body b) { b.initParentPath(kPathBytesMax + 1); }},
      {"architecture_low", "architecture",
       [](Body b) { b.setArchitecture(M::Architecture::UNSPECIFIED); }},
      {"architecture_high", "architecture",
       [](Body b) { b.setArchitecture(beyond<M::Architecture>(4)); }},
      {"backend", "backend", [](Body b) { b.setBackend(beyond<M::Backend>(4)); }},
      {"clock_policy", "clockPolicy", [](Body b) { b.setClockPolicy(beyond<M::ClockPolicy>(0)); }},
      {"cpu_feature_count", "cpuFeatures", [](Body b) { b.initCpuFeatures(kCpuFeaturesMax + 1); }},
      {"cpu_feature_empty", "CPU feature", [](Body b) { b.getCpuFeatures().set(0, ""); }},
      {"cpu_feature_size", "CPU feature",
       [](Body b) { b.getCpuFeatures().init(2, kCpuFeatureBytesMax + 1); }},
      {"cpu_feature_order", "ascending", [](Body b) { b.getCpuFeatures().set(2, "aaa"); }},
      {"cpu_feature_twice", "ascending", [](Body b) { b.getCpuFeatures().set(1, "avx"); }},
      {"label_count", "labels", [](Body b) { b.initLabels(kLabelsMax + 1); }},
      {"label_key_empty", "label key", [](Body b) { b.getLabels()[0].setKey(""); }},
      {"label_key_size", "label key",
       [](Body b) { b.getLabels()[0].initKey(kLabelKeyBytesMax + 1); }},
      {"label_value_size", "label value",
       [](Body b) { b.getLabels()[0].initValue(kLabelValueBytesMax + 1); }},
      {"label_key_twice", "two labels", [](Body b) { b.getLabels()[1].setKey("a"); }},
  };
}

std::vector<Rule> memory_rules() {
  return {
      {"page_size", "page size", [](Body b) { b.setPageSizeBytes(8192); }},
      {"page_size_zero", "page size", [](Body b) { b.setPageSizeBytes(0); }},
      {"chunk_power", "chunk size", [](Body b) { b.setChunkBytes(65536 + 4096); }},
      {"chunk_small", "chunk size", [](Body b) { b.setChunkBytes(2048); }},
      {"chunk_large", "chunk size", [](Body b) { b.setChunkBytes(4U << 20U); }},
      {"mark_size", "payload mark", [](Body b) { b.setPayloadMarkBytes(16); }},
      {"layout_low", "layout", [](Body b) { b.setLayout(M::Layout::UNSPECIFIED); }},
      {"codec_low", "codec", [](Body b) { b.setCodec(M::Codec::UNSPECIFIED); }},
      {"layout", "layout", [](Body b) { b.setLayout(beyond<M::Layout>(3)); }},
      {"codec", "codec", [](Body b) { b.setCodec(beyond<M::Codec>(3)); }},
      {"codec_of_layout", "mappable", [](Body b) { b.setLayout(M::Layout::MAPPABLE); }},
      {"no_region", "extent", [](Body b) { b.initRegions(0); }},
      {"region_count", "regions", [](Body b) { b.initRegions(kRegionsMax + 1); }},
      {"region_wraps", "wraps",
       [](Body b) { b.getRegions()[1].setLengthBytes(~std::uint64_t{0}); }},
      {"region_high", "reaches beyond",
       [](Body b) { b.getRegions()[1].setGpa((std::uint64_t{1} << 52U) - 4096); }},
      {"region_empty", "empty", [](Body b) { b.getRegions()[1].setLengthBytes(0); }},
      {"region_aligned", "whole pages", [](Body b) { b.getRegions()[1].setGpa(kMiB + 512); }},
      {"region_order", "overlaps", [](Body b) { b.getRegions()[1].setGpa(4096); }},
      {"region_total", "bytes of memory",
       [](Body b) {
         b.initExtents(0);
         b.getRegions()[1].setLengthBytes(std::uint64_t{1} << 44U);
         b.getRegions()[0].setLengthBytes(std::uint64_t{1} << 20U);
       }},
      {"backing", "backing", [](Body b) { b.getRegions()[0].setBacking(beyond<M::Backing>(4)); }},
      {"huge_pages", "hugePages",
       [](Body b) { b.getRegions()[0].setHugePages(beyond<M::HugePages>(3)); }},
      {"extent_empty", "extent 0", [](Body b) { b.getExtents()[0].setLengthPages(0); }},
      {"extent_short", "extents end", [](Body b) { b.getExtents()[3].setLengthPages(7); }},
      {"extent_over_region", "extent 2", [](Body b) { b.getExtents()[2].setLengthPages(9); }},
      {"extent_beyond", "extent 3",
       [](Body b) {
         auto extents = b.initExtents(4);
         for (auto extent : extents) {
           extent.setLengthPages(8);
           extent.setKind(M::ExtentKind::ZERO);
         }
       }},
      {"extent_kind", "extent kind",
       [](Body b) { b.getExtents()[0].setKind(M::ExtentKind::UNSPECIFIED); }},
      {"extent_kind_high", "extent kind",
       [](Body b) { b.getExtents()[0].setKind(beyond<M::ExtentKind>(5)); }},
      {"inherited_needs_parent", "no parent",
       [](Body b) {
         b.initParentId(0);
         b.setParentRootLow(0);
         b.setParentRootHigh(0);
         b.setParentPath("");
       }},
      {"lz4_needs_codec", "codec is none", [](Body b) { b.setCodec(M::Codec::NONE); }},
      {"zero_stores_nothing", "nothing is stored",
       [](Body b) { b.getExtents()[0].setFileOffset(4096); }},
      {"raw_aligned", "unaligned", [](Body b) { b.getExtents()[2].setFileOffset(16384 - 512); }},
      {"raw_inside", "outside the payload", [](Body b) { b.getExtents()[2].setFileOffset(20480); }},
      {"raw_wraps", "outside the payload",
       [](Body b) { b.getExtents()[2].setFileOffset(~std::uint64_t{0} << 12U); }},
      {"lz4_inside", "outside the payload",
       [](Body b) { b.getExtents()[1].setFileOffset(48 * kKiB); }},
      {"chunk_count", "chunk count", [](Body b) { b.setChunkCount(3); }},
      {"mappable_place", "mappable payload",
       [](Body b) { b.getExtents()[1].setFileOffset(20 * kKiB); }, true},
      {"mappable_size", "payload of", [](Body b) { b.setPayloadBytes(b.getPayloadBytes() + 4096); },
       true},
  };
}

std::vector<Rule> machine_rules() {
  return {
      {"no_vcpu", "0 vCPUs", [](Body b) { b.initVcpus(0); }},
      {"vcpu_count", "vcpus", [](Body b) { b.initVcpus(33); }},
      {"vcpu_kind", "unknown kind", [](Body b) { b.getVcpus()[0].getState().setUnspecified(); }},
      {"vcpu_architecture", "the snapshot",
       [](Body b) { b.getVcpus()[1].getState().initToy().initR(16); }},
      {"activity", "activity",
       [](Body b) { b.getVcpus()[0].setActivity(beyond<schema::Vcpu::Activity>(3)); }},
      {"general_count", "general",
       [](Body b) { b.getVcpus()[0].getState().getX86().initGeneral(17); }},
      {"segment_count", "segments",
       [](Body b) { b.getVcpus()[0].getState().getX86().initSegments(7); }},
      {"table_count", "descriptor tables",
       [](Body b) { b.getVcpus()[0].getState().getX86().initTables(3); }},
      {"control_count", "control",
       [](Body b) { b.getVcpus()[0].getState().getX86().initControl(0); }},
      {"bitmap_count", "interruptBitmap",
       [](Body b) { b.getVcpus()[0].getState().getX86().initInterruptBitmap(5); }},
      {"debug_count", "debug", [](Body b) { b.getVcpus()[0].getState().getX86().initDebug(5); }},
      {"mp_state", "mpState",
       [](Body b) {
         b.getVcpus()[0].getState().getX86().setMpState(beyond<schema::X86::MpState>(5));
       }},
      {"xsave_size", "xsave",
       [](Body b) { b.getVcpus()[0].getState().getX86().initXsave(kXsaveBytesMax + 1); }},
      {"xcr_count", "xcrs",
       [](Body b) { b.getVcpus()[0].getState().getX86().initXcrs(kRegisterListMax + 1); }},
      {"xcr_order", "ascending", [](Body b) { b.getVcpus()[0].getState().getX86().initXcrs(2); }},
      {"msr_count", "msrs",
       [](Body b) { b.getVcpus()[0].getState().getX86().initMsrs(kRegisterListMax + 1); }},
      {"msr_order", "ascending", [](Body b) { b.getVcpus()[0].getState().getX86().initMsrs(2); }},
      {"cpuid_count", "cpuid",
       [](Body b) { b.getVcpus()[0].getState().getX86().initCpuid(kRegisterListMax + 1); }},
      {"device_count", "devices", [](Body b) { b.initDevices(kDevicesMax + 1); }},
      {"device_name_empty", "device name", [](Body b) { b.getDevices()[0].setName(""); }},
      {"device_name_size", "device name",
       [](Body b) { b.getDevices()[0].initName(kDeviceNameBytesMax + 1); }},
      {"device_version", "version 0", [](Body b) { b.getDevices()[0].setVersion(0); }},
      {"device_size", "device state",
       [](Body b) { b.getDevices()[0].initState(kDeviceStateBytesMax + 1); }},
      {"device_name_twice", "two devices", [](Body b) { b.getDevices()[1].setName("console"); }},
  };
}

constexpr auto kRuleName = [](const auto& param_info) {
  return std::string(param_info.param.name);
};
INSTANTIATE_TEST_SUITE_P(Identity, SchemaRule, ::testing::ValuesIn(identity_rules()), kRuleName);
INSTANTIATE_TEST_SUITE_P(Memory, SchemaRule, ::testing::ValuesIn(memory_rules()), kRuleName);
INSTANTIATE_TEST_SUITE_P(Machine, SchemaRule, ::testing::ValuesIn(machine_rules()), kRuleName);

Manifest arm64_example() {
  Random random(22);
  Manifest m = full_example();
  m.architecture = Architecture::kArm64;
  m.machine = random_machine(random, m.architecture, 1);
  return m;
}

TEST(SchemaRuleOfArm64, ListsAndEnumerationsAreChecked) {
  const auto refusal = [](const std::function<void(schema::Arm64::Builder)>& breaks) {
    const auto outcome = decode_manifest(
        forge(arm64_example(), [&](Body b) { breaks(b.getVcpus()[0].getState().getArm64()); }));
    return outcome ? std::string("accepted") : outcome.error().message;
  };
  EXPECT_THAT(refusal([](auto arm) { arm.initX(30); }), HasSubstr("x: 30"));
  EXPECT_THAT(refusal([](auto arm) { arm.initQ(63); }), HasSubstr("q: 63"));
  EXPECT_THAT(refusal([](auto arm) { arm.initSystem(kRegisterListMax + 1); }), HasSubstr("system"));
  EXPECT_THAT(refusal([](auto arm) { arm.initSystem(2); }), HasSubstr("ascending"));
  EXPECT_THAT(refusal([](auto arm) { arm.initGicCpuInterface(2); }), HasSubstr("GIC"));
  EXPECT_THAT(refusal([](auto arm) { arm.setPower(beyond<schema::Arm64::Power>(3)); }),
              HasSubstr("power"));
}

TEST(SchemaRuleOfToy, TheNumberOfRegistersIsChecked) {
  Random random(23);
  Manifest m = full_example();
  m.architecture = Architecture::kToy;
  m.machine = random_machine(random, m.architecture, 1);
  const auto outcome =
      decode_manifest(forge(m, [](Body b) { b.getVcpus()[0].getState().getToy().initR(15); }));
  ASSERT_FALSE(outcome);
  EXPECT_THAT(outcome.error().message, HasSubstr("r: 15"));
}

// ---- The header ----

TEST(SnapshotHeader, OfAFutureVersionExplainsItself) {
  Manifest manifest = full_example();
  manifest.creator = "stasis 0.9.0 (\x1b[31mred)";
  manifest.created_ns = 1'893'456'000'000'000'000;  // 2030-01-01
  const auto file = forge(
      manifest, [](Body) {},
      [](Header header) {
        header.setFormatVersion(7);
        header.setExplanation("A better format.");
      });
  const auto outcome = decode_manifest(file);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::kNotSupported);
  EXPECT_THAT(outcome.error().message,
              HasSubstr("format version 7, written by stasis 0.9.0 (?[31mred) on 2030-01-01"));
  EXPECT_THAT(outcome.error().message, HasSubstr("reads up to 1"));
  const auto header = decode_header(file);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->format_version, 7U);
  EXPECT_EQ(header->explanation, "A better format.");
}

TEST(SnapshotHeader, OfAFutureVersionIsReadWhateverFollowsIt) {
  auto file = forge(
      full_example(), [](Body) {}, [](Header header) { header.setFormatVersion(2); });
  const std::size_t header_bytes = file.size() - decode_header(file)->body_bytes;
  file.resize(header_bytes);
  file.resize(header_bytes + 1000, std::byte{0xff});
  EXPECT_EQ(decode_manifest(file).error().code, Errc::kNotSupported);
}

TEST(SnapshotHeader, MustHaveTheMagicWordsAVersionAndTheRightLengths) {
  const auto refusal = [](const std::function<void(Header)>& breaks) {
    const auto outcome = decode_manifest(forge(
        full_example(), [](Body) {}, breaks));
    return outcome ? std::string("accepted") : outcome.error().message;
  };
  EXPECT_EQ(refusal([](Header) {}), "accepted");
  EXPECT_THAT(refusal([](Header h) { h.setMagic("stasis postcard"); }),
              HasSubstr("lacks the words"));
  EXPECT_THAT(refusal([](Header h) { h.setFormatVersion(0); }), HasSubstr("damaged"));
  EXPECT_THAT(refusal([](Header h) { h.getExplanation()[3] = 'x'; }), HasSubstr("damaged"));
  EXPECT_THAT(refusal([](Header h) { h.setBodyBytes(8); }), HasSubstr("truncated"));
  EXPECT_THAT(refusal([](Header h) { h.setBodyChecksumLow(8); }), HasSubstr("checksum"));
  EXPECT_THAT(refusal([](Header h) { h.getParentId()[3] ^= 1U; }), HasSubstr("contradict"));
  EXPECT_THAT(refusal([](Header h) { h.setId(kShortData); }), HasSubstr("id is not 16 bytes"));
  EXPECT_THAT(refusal([](Header h) { h.setParentId(kShortData); }),
              HasSubstr("id is not 16 bytes"));
}

TEST(SnapshotHeader, IsOneSegmentOfAtMost4096Bytes) {
  const auto whole = forge(full_example(), [](Body) {});
  auto two_segments = whole;
  two_segments[0] = std::byte{1};
  EXPECT_THAT(decode_manifest(two_segments).error().message,
              HasSubstr("does not begin with a header"));
  auto large = whole;
  large.resize(std::size_t{64} << 10U);  // All that it claims to have is there.
  large[4] = std::byte{0x01};            // 513 words.
  large[5] = std::byte{0x02};
  EXPECT_THAT(decode_manifest(large).error().message, HasSubstr("does not begin with a header"));
  large[4] = std::byte{0x00};  // 512 words are allowed: now it is about what they say.
  EXPECT_THAT(decode_manifest(large).error().message,
              ::testing::Not(HasSubstr("does not begin with a header")));
}

TEST(ManifestEncoder, RefusesWhatTheDecoderWouldRefuse) {
  Manifest manifest = full_example();
  manifest.machine.vcpus.clear();
  const auto outcome = encode_manifest(manifest);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(outcome.error().message, HasSubstr("vCPU"));
}

}  // namespace
}  // namespace stasis::snapshot
