// The only file, with vcpu_codec.cc, that names the generated code of schemas/manifest.capnp. KJ
// reports malformed input by throwing; the decode_*() functions are where that becomes a Result.
#include "snapshot/manifest_codec.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include "schemas/manifest.capnp.h"
#include "snapshot/checksum.h"
#include "snapshot/plain_text.h"
#include "snapshot/vcpu_codec.h"
#include "snapshot/words.h"

namespace stasis::snapshot {
namespace {

using schema::Header;
using Body = schema::Manifest;

constexpr std::string_view kMagic = "stasis snapshot";
constexpr std::string_view kExplanation =
    "This is a snapshot of a virtual machine, made by stasis: this file describes it, the file "
    "'memory' beside it holds its memory, the file 'index.capnp' the checksums.";

// The numbers in files are those of the values.
template <typename A, typename B>
constexpr bool same_number(A a, B b) {
  return static_cast<int>(a) == static_cast<int>(b);
}
static_assert(same_number(Body::Architecture::TOY, Architecture::kToy));
static_assert(same_number(Body::Backend::HVF_SIM, BackendKind::kHvfSim));
static_assert(same_number(Body::ClockPolicy::INSTRUCTIONS, ClockPolicy::kInstructions));
static_assert(same_number(Body::Layout::PACKED, Layout::kPacked));
static_assert(same_number(Body::Codec::LZ4, Codec::kLz4));
static_assert(same_number(Body::ExtentKind::INHERITED, ExtentKind::kInherited));
static_assert(same_number(Body::Backing::SHARED_FILE, BackingKind::kSharedFile));
static_assert(same_number(Body::HugePages::HUGETLB, HugePages::kHugetlb));
static_assert(same_number(schema::Vcpu::Activity::HALTED, VcpuActivity::kHalted));

Error corrupt(std::string message) {
  return Error{Errc::kCorruption, 0, std::move(message)};
}

unsigned size_of(std::size_t count) {
  return static_cast<unsigned>(count);  // validate() has bounded it.
}

// ---- Encoding ----

capnp::Text::Reader text_of(std::string_view text) {
  // A Text::Reader promises a terminating zero, which only std::string and literals have; the
  // setters copy text.size() bytes and add their own.
  return {text.data(), text.size()};
}

kj::ArrayPtr<const kj::byte> data_of(const SnapshotId& id) {
  return kj::arrayPtr(id.bytes.data(), id.bytes.size());
}

std::vector<std::byte> encode_header(const SnapshotHeader& header) {
  capnp::MallocMessageBuilder message;
  auto out = message.initRoot<Header>();
  out.setMagic(text_of(kMagic));
  out.setFormatVersion(header.format_version);
  out.setId(data_of(header.id));
  if (header.parent) {
    out.setParentId(data_of(*header.parent));
  }
  out.setCreator(text_of(header.creator));
  out.setCreatedNs(header.created_ns);
  out.setBodyBytes(header.body_bytes);
  out.setBodyChecksumLow(header.root.low);
  out.setBodyChecksumHigh(header.root.high);
  out.setExplanation(text_of(header.explanation));
  return internal::bytes_of(message);
}

void encode_facts(const Manifest& m, Body::Builder out) {
  out.setId(data_of(m.id));
  out.setCreator(text_of(m.creator));
  out.setCreatedNs(m.created_ns);
  if (m.parent) {
    out.setParentId(data_of(m.parent->id));
    out.setParentRootLow(m.parent->root.low);
    out.setParentRootHigh(m.parent->root.high);
    out.setParentPath(text_of(m.parent->path));
  }
  out.setArchitecture(static_cast<Body::Architecture>(m.architecture));
  out.setBackend(static_cast<Body::Backend>(m.backend));
  out.setClockPolicy(static_cast<Body::ClockPolicy>(m.clock_policy));
  auto features = out.initCpuFeatures(size_of(m.cpu_features.size()));
  for (unsigned i = 0; i < features.size(); ++i) {
    features.set(i, text_of(m.cpu_features[i]));
  }
  auto labels = out.initLabels(size_of(m.labels.size()));
  for (unsigned i = 0; i < labels.size(); ++i) {
    labels[i].setKey(text_of(m.labels[i].key));
    labels[i].setValue(text_of(m.labels[i].value));
  }
}

void encode_memory(const Manifest& m, Body::Builder out) {
  out.setPageSizeBytes(m.page_size_bytes);
  out.setChunkBytes(m.chunk_bytes);
  out.setLayout(static_cast<Body::Layout>(m.layout));
  out.setCodec(static_cast<Body::Codec>(m.codec));
  auto regions = out.initRegions(size_of(m.regions.size()));
  for (unsigned i = 0; i < regions.size(); ++i) {
    regions[i].setGpa(m.regions[i].range.begin.value);
    regions[i].setLengthBytes(m.regions[i].range.size);
    regions[i].setBacking(static_cast<Body::Backing>(m.regions[i].backing));
    regions[i].setHugePages(static_cast<Body::HugePages>(m.regions[i].huge_pages));
  }
  auto extents = out.initExtents(size_of(m.extents.size()));
  for (unsigned i = 0; i < extents.size(); ++i) {
    auto extent = extents[i];
    extent.setLengthPages(static_cast<std::uint32_t>(m.extents[i].range.size / m.page_size_bytes));
    extent.setKind(static_cast<Body::ExtentKind>(m.extents[i].kind));
    extent.setFileOffset(m.extents[i].file_offset);
  }
  out.setPayloadBytes(m.payload_bytes);
  out.setPayloadMarkBytes(m.payload_mark_bytes);
  out.setChunkCount(m.chunk_count);
  out.setIndexBytes(m.index_bytes);
  out.setIndexChecksumLow(m.index_checksum[0]);
  out.setIndexChecksumHigh(m.index_checksum[1]);
}

void encode_machine(const MachineState& machine, Body::Builder out) {
  auto vcpus = out.initVcpus(size_of(machine.vcpus.size()));
  for (unsigned i = 0; i < vcpus.size(); ++i) {
    vcpus[i].setActivity(static_cast<schema::Vcpu::Activity>(machine.activities[i]));
    vcpus[i].setWakePending(machine.wake_pending[i]);
    internal::encode_vcpu(machine.vcpus[i], vcpus[i]);
  }
  auto devices = out.initDevices(size_of(machine.devices.size()));
  for (unsigned i = 0; i < devices.size(); ++i) {
    const DeviceState& device = machine.devices[i];
    devices[i].setName(text_of(device.name));
    devices[i].setVersion(device.version);
    auto state = devices[i].initState(size_of(device.bytes.size()));
    std::ranges::copy(device.bytes,
                      std::as_writable_bytes(std::span(state.begin(), state.size())).begin());
  }
}

// ---- Decoding ----

std::string string_of(capnp::Text::Reader text) {
  return {text.begin(), text.size()};
}

std::optional<SnapshotId> id_of(capnp::Data::Reader data) {
  SnapshotId id;
  if (data.size() != id.bytes.size()) {
    return std::nullopt;
  }
  std::ranges::copy(data, id.bytes.begin());
  return id;
}

// Enumerations whose values begin at 1 have an enumerator 0 in the schema, which is not a value.
template <typename Value, typename Stored>
Result<Value> value_of(std::string_view field, Stored stored, int first, Stored last) {
  if (static_cast<int>(stored) < first || stored > last) {
    return corrupt(std::string(field) + " has the unknown value " +
                   std::to_string(static_cast<int>(stored)));
  }
  return static_cast<Value>(stored);
}

Result<void> bound(std::string_view field, std::uint64_t count, std::uint64_t limit) {
  if (count > limit) {
    return corrupt(std::string(field) + ": " + std::to_string(count) + " entries, at most " +
                   std::to_string(limit) + " allowed");
  }
  return {};
}

Result<void> decode_parent(Body::Reader in, Manifest& m) {
  if (in.getParentId().size() == 0) {
    if (in.getParentRootLow() != 0 || in.getParentRootHigh() != 0 ||
        in.getParentPath().size() != 0) {
      return corrupt("a parent's root or path without a parent");
    }
    return {};
  }
  const auto id = id_of(in.getParentId());
  if (!id) {
    return corrupt("parentId is not 16 bytes");
  }
  m.parent = ParentLink{
      *id, {in.getParentRootLow(), in.getParentRootHigh()}, string_of(in.getParentPath())};
  return {};
}

Result<void> decode_facts(Body::Reader in, Manifest& m) {
  const auto id = id_of(in.getId());
  if (!id) {
    return corrupt("id is not 16 bytes");
  }
  m.id = *id;
  m.creator = string_of(in.getCreator());
  m.created_ns = in.getCreatedNs();
  STASIS_TRY(decode_parent(in, m));
  STASIS_ASSIGN(m.architecture, value_of<Architecture>("architecture", in.getArchitecture(), 1,
                                                       Body::Architecture::TOY));
  STASIS_ASSIGN(m.backend,
                value_of<BackendKind>("backend", in.getBackend(), 0, Body::Backend::HVF_SIM));
  STASIS_ASSIGN(m.clock_policy, value_of<ClockPolicy>("clockPolicy", in.getClockPolicy(), 1,
                                                      Body::ClockPolicy::INSTRUCTIONS));
  // Each once: every get counts against the traversal limit.
  const auto features = in.getCpuFeatures();
  STASIS_TRY(bound("cpuFeatures", features.size(), kCpuFeaturesMax));
  for (const auto feature : features) {
    m.cpu_features.push_back(string_of(feature));
  }
  const auto labels = in.getLabels();
  STASIS_TRY(bound("labels", labels.size(), kLabelsMax));
  for (const auto label : labels) {
    m.labels.push_back({string_of(label.getKey()), string_of(label.getValue())});
  }
  return {};
}

Result<void> decode_regions(Body::Reader in, Manifest& m) {
  m.page_size_bytes = in.getPageSizeBytes();
  m.chunk_bytes = in.getChunkBytes();
  if (m.page_size_bytes != 4096 && m.page_size_bytes != 16384) {
    return corrupt("page size of " + std::to_string(m.page_size_bytes) + " bytes");
  }
  if (m.chunk_bytes == 0 || (m.chunk_bytes & (m.chunk_bytes - 1)) != 0) {
    return corrupt("chunk size of " + std::to_string(m.chunk_bytes) + " bytes");
  }
  STASIS_ASSIGN(m.layout, value_of<Layout>("layout", in.getLayout(), 1, Body::Layout::PACKED));
  STASIS_ASSIGN(m.codec, value_of<Codec>("codec", in.getCodec(), 1, Body::Codec::LZ4));
  const auto regions = in.getRegions();  // Once: every get counts against the traversal limit.
  STASIS_TRY(bound("regions", regions.size(), kRegionsMax));
  for (const auto region : regions) {
    const auto range = make_range(Gpa{region.getGpa()}, region.getLengthBytes());
    if (!range) {
      return corrupt("a region wraps around the address space");
    }
    STASIS_ASSIGN(const auto backing, value_of<BackingKind>("backing", region.getBacking(), 0,
                                                            Body::Backing::SHARED_FILE));
    STASIS_ASSIGN(const auto huge_pages, value_of<HugePages>("hugePages", region.getHugePages(), 0,
                                                             Body::HugePages::HUGETLB));
    m.regions.push_back({*range, backing, huge_pages});
  }
  return {};
}

// Addresses and chunk numbers follow from what is stored; validate() checks the outcome.
Result<void> decode_extents(Body::Reader in, Manifest& m) {
  const auto extents = in.getExtents();
  m.extents.reserve(extents.size());
  std::size_t region = 0;
  std::uint64_t at = m.regions.empty() ? 0 : m.regions[0].range.begin.value;
  std::uint64_t chunks = 0;
  for (const auto stored : extents) {
    while (region < m.regions.size() && at == m.regions[region].range.end().value) {
      ++region;
      at = region < m.regions.size() ? m.regions[region].range.begin.value : at;
    }
    Extent extent;
    const std::uint64_t size = std::uint64_t{stored.getLengthPages()} * m.page_size_bytes;
    const auto range = make_range(Gpa{at}, size);
    if (region == m.regions.size() || size == 0 || !range ||
        range->end() > m.regions[region].range.end()) {
      return corrupt("extent " + std::to_string(m.extents.size()) + " at " + std::to_string(at) +
                     " is empty or reaches over the end of its region");
    }
    extent.range = *range;
    STASIS_ASSIGN(extent.kind, value_of<ExtentKind>("extent kind", stored.getKind(), 1,
                                                    Body::ExtentKind::INHERITED));
    extent.file_offset = stored.getFileOffset();
    if (is_stored(extent.kind)) {
      extent.first_chunk = static_cast<std::uint32_t>(chunks);
      chunks += chunk_count_of(extent.range, m.chunk_bytes);
      if (chunks > UINT32_MAX) {
        return corrupt("more than 2^32 chunks");
      }
    }
    m.extents.push_back(extent);
    at += size;
  }
  return {};
}

Result<void> decode_machine(Body::Reader in, MachineState& machine) {
  const auto vcpus = in.getVcpus();  // Once: every get counts against the traversal limit.
  STASIS_TRY(bound("vcpus", vcpus.size(), kVcpusMax));
  for (const auto vcpu : vcpus) {
    auto state = internal::decode_vcpu(vcpu);
    if (!state) {
      return std::move(state).error().with_context("vCPU " + std::to_string(machine.vcpus.size()));
    }
    machine.vcpus.push_back(*std::move(state));
    STASIS_ASSIGN(const auto activity, value_of<VcpuActivity>("activity", vcpu.getActivity(), 0,
                                                              schema::Vcpu::Activity::HALTED));
    machine.activities.push_back(activity);
    machine.wake_pending.push_back(vcpu.getWakePending());
  }
  const auto devices = in.getDevices();  // Once: every get counts against the traversal limit.
  STASIS_TRY(bound("devices", devices.size(), kDevicesMax));
  for (const auto device : devices) {
    const auto state = device.getState();
    STASIS_TRY(bound("device state bytes", state.size(), kDeviceStateBytesMax));
    const auto bytes = std::as_bytes(std::span(state.begin(), state.size()));
    machine.devices.push_back(
        {string_of(device.getName()), device.getVersion(), {bytes.begin(), bytes.end()}});
  }
  return {};
}

Result<Manifest> decode_body(Body::Reader in) {
  Manifest m;
  STASIS_TRY(decode_facts(in, m));
  STASIS_TRY(decode_regions(in, m));
  STASIS_TRY(decode_extents(in, m));
  m.payload_bytes = in.getPayloadBytes();
  m.payload_mark_bytes = in.getPayloadMarkBytes();
  m.chunk_count = in.getChunkCount();
  m.index_bytes = in.getIndexBytes();
  m.index_checksum = {in.getIndexChecksumLow(), in.getIndexChecksumHigh()};
  STASIS_TRY(decode_machine(in, m.machine));
  STASIS_TRY(validate(m));
  return m;
}

// The bytes of the header message, measured by its segment table: one segment, which is bounded.
Result<std::span<const std::byte>> header_bytes(std::span<const std::byte> file) {
  std::array<std::uint8_t, 8> table = {};
  if (file.size() < table.size()) {
    return corrupt("only " + std::to_string(file.size()) + " bytes");
  }
  std::memcpy(table.data(), file.data(), table.size());
  std::uint64_t words = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    words |= std::uint64_t{table[4 + i]} << (8 * i);
  }
  const bool one_segment = table[0] == 0 && table[1] == 0 && table[2] == 0 && table[3] == 0;
  if (!one_segment || words > kHeaderBytesMax / 8 || words * 8 > file.size() - table.size()) {
    return corrupt("not the manifest of a snapshot: it does not begin with a header");
  }
  return file.first(table.size() + (words * 8));
}

Result<SnapshotHeader> decode_header_message(Header::Reader in) {
  if (string_of(in.getMagic()) != kMagic) {
    return corrupt("not the manifest of a snapshot: the header lacks the words '" +
                   std::string(kMagic) + "'");
  }
  SnapshotHeader header;
  const auto id = id_of(in.getId());
  const auto parent = id_of(in.getParentId());
  if (!id || (!parent && in.getParentId().size() != 0)) {
    return corrupt("header: an id is not 16 bytes");
  }
  header.format_version = in.getFormatVersion();
  header.id = *id;
  header.parent = parent;
  header.creator = string_of(in.getCreator());
  header.created_ns = in.getCreatedNs();
  header.body_bytes = in.getBodyBytes();
  header.root = {in.getBodyChecksumLow(), in.getBodyChecksumHigh()};
  header.explanation = string_of(in.getExplanation());
  return header;
}

Error future_version(const SnapshotHeader& header) {
  return Error{Errc::kNotSupported, 0,
               "format version " + std::to_string(header.format_version) + ", written by " +
                   internal::printable(header.creator) + " on " +
                   internal::date_of(header.created_ns) + "; this program reads up to " +
                   std::to_string(kFormatVersion) + ": use that program or a newer one"};
}

Result<void> check_header(const SnapshotHeader& header, std::span<const std::byte> body) {
  if (header.format_version == 0 || header.explanation != kExplanation) {
    return corrupt("header is damaged");
  }
  if (header.body_bytes != body.size()) {
    return corrupt("truncated or extended: " + std::to_string(body.size()) +
                   " bytes behind the header instead of " + std::to_string(header.body_bytes));
  }
  const auto checksum = wide_checksum(body);
  if (header.root != ContentRoot{checksum[0], checksum[1]}) {
    return corrupt("checksum does not match the header");
  }
  return {};
}

Result<void> check_agreement(const SnapshotHeader& header, const Manifest& m) {
  const auto parent = m.parent ? std::optional(m.parent->id) : std::nullopt;
  if (header.id != m.id || header.parent != parent || header.creator != m.creator ||
      header.created_ns != m.created_ns) {
    return corrupt("header and manifest contradict each other");
  }
  return {};
}

}  // namespace

Result<std::vector<std::byte>> encode_manifest(const Manifest& manifest) {
  if (auto valid = validate(manifest); !valid) {
    Error error = std::move(valid).error();
    error.code = Errc::kInvalidArgument;
    return error;
  }
  capnp::MallocMessageBuilder message(static_cast<unsigned>(1024 + (manifest.extents.size() * 2)));
  auto root = message.initRoot<Body>();
  encode_facts(manifest, root);
  encode_memory(manifest, root);
  encode_machine(manifest.machine, root);
  const std::vector<std::byte> body = internal::bytes_of(message);
  if (body.size() > kManifestBytesMax - kHeaderBytesMax) {
    return Error{Errc::kInvalidArgument, 0,
                 "a manifest of " + std::to_string(body.size()) + " bytes is over the limit of " +
                     std::to_string(kManifestBytesMax) + ": memory is too fragmented"};
  }
  const auto checksum = wide_checksum(body);
  SnapshotHeader header;
  header.format_version = manifest.format_version;
  header.id = manifest.id;
  header.parent = manifest.parent ? std::optional(manifest.parent->id) : std::nullopt;
  header.creator = manifest.creator;
  header.created_ns = manifest.created_ns;
  header.body_bytes = body.size();
  header.root = {checksum[0], checksum[1]};
  header.explanation = kExplanation;
  std::vector<std::byte> file = encode_header(header);
  file.insert(file.end(), body.begin(), body.end());
  return file;
}

Result<SnapshotHeader> decode_header(std::span<const std::byte> file) {
  STASIS_ASSIGN(const auto bytes, header_bytes(file));
  try {
    const internal::AlignedWords words(bytes);
    capnp::FlatArrayMessageReader reader(words.get(), internal::reader_options(bytes.size()));
    STASIS_ASSIGN(SnapshotHeader header, decode_header_message(reader.getRoot<Header>()));
    // Later versions may lay the same fields out in another way.
    if (header.format_version <= kFormatVersion &&
        !std::ranges::equal(encode_header(header), bytes)) {
      return corrupt("header is damaged");
    }
    return header;
  } catch (const kj::Exception& exception) {
    return corrupt(std::string("header: ") + exception.getDescription().cStr());
  }
}

Result<Manifest> decode_manifest_body(std::span<const std::byte> body) {
  try {
    const internal::AlignedWords words(body);
    capnp::FlatArrayMessageReader reader(words.get(), internal::reader_options(body.size()));
    return decode_body(reader.getRoot<Body>());
  } catch (const kj::Exception& exception) {
    return corrupt(exception.getDescription().cStr());
  }
}

Result<DecodedManifest> decode_manifest(std::span<const std::byte> file) {
  if (file.size() > kManifestBytesMax) {
    return corrupt(std::to_string(file.size()) + " bytes, more than any manifest has");
  }
  STASIS_ASSIGN(const SnapshotHeader header, decode_header(file));
  if (header.format_version > kFormatVersion) {
    return future_version(header);
  }
  STASIS_ASSIGN(const auto head, header_bytes(file));
  const auto body = file.subspan(head.size());
  STASIS_TRY(check_header(header, body));
  STASIS_ASSIGN(Manifest manifest, decode_manifest_body(body));
  STASIS_TRY(check_agreement(header, manifest));
  return DecodedManifest{std::move(manifest), header.root};
}

}  // namespace stasis::snapshot
