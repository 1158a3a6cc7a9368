// The only file that names the generated code of schemas/trace.capnp.
#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <unordered_set>
#include <utility>

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include "core/text.h"
#include "schemas/trace.capnp.h"
#include "snapshot/access_trace.h"
#include "snapshot/checksum.h"
#include "snapshot/manifest_codec.h"
#include "snapshot/words.h"

namespace stasis::snapshot {
namespace {

constexpr std::uint32_t kUnitBytesMin = 4096;
constexpr std::uint32_t kUnitBytesMax = 65536;

Error corrupt(std::string message) {
  return Error{Errc::kCorruption, 0, std::move(message)};
}

// The rule that `trace` breaks, or nothing.
std::optional<std::string> broken_rule(const AccessTrace& trace) {
  if (!std::has_single_bit(trace.unit_bytes) || trace.unit_bytes < kUnitBytesMin ||
      trace.unit_bytes > kUnitBytesMax) {
    return "unitBytes is " + std::to_string(trace.unit_bytes) +
           ", not a power of two from 4096 to 65536";
  }
  if (trace.accesses.size() > kTraceAccessesMax) {
    return std::to_string(trace.accesses.size()) + " accesses, more than the " +
           std::to_string(kTraceAccessesMax) + " allowed";
  }
  std::unordered_set<std::uint64_t> seen;
  std::int64_t last = 0;
  for (const PageAccess& access : trace.accesses) {
    if (!is_aligned(access.page.value, trace.unit_bytes) ||
        !fits(access.page.value, trace.unit_bytes, kGuestAddressMax)) {
      return "page " + hex(access.page.value) + " is no whole unit below 2^52";
    }
    if (access.at_ns < last) {
      return "page " + hex(access.page.value) + " was touched before the one before it";
    }
    if (!seen.insert(access.page.value).second) {
      return "page " + hex(access.page.value) + " stands there twice";
    }
    last = access.at_ns;
  }
  return std::nullopt;
}

std::array<std::uint64_t, 2> checksum_of(const AccessTrace& trace) {
  const auto [id_low, id_high] = std::bit_cast<std::array<std::uint64_t, 2>>(trace.snapshot.bytes);
  std::vector<std::uint64_t> words = {kTraceVersion,
                                      id_low,
                                      id_high,
                                      trace.root.low,
                                      trace.root.high,
                                      trace.unit_bytes,
                                      static_cast<std::uint64_t>(trace.created_ns)};
  words.reserve(words.size() + trace.accesses.size() * 3);
  for (const PageAccess& access : trace.accesses) {
    words.push_back(access.page.value);
    words.push_back(static_cast<std::uint64_t>(access.at_ns));
    words.push_back(static_cast<std::uint64_t>(access.access) +
                    256 * static_cast<std::uint64_t>(access.phase));
  }
  static_assert(std::endian::native == std::endian::little);  // As the schema has it.
  return wide_checksum(std::as_bytes(std::span(words)));
}

Result<PageAccess> decode_access(schema::Trace::Access::Reader reader) {
  PageAccess access;
  access.page = Gpa{reader.getPage()};
  if (reader.getAtNs() > static_cast<std::uint64_t>(INT64_MAX)) {
    return corrupt("the time of page " + hex(access.page.value) + " is out of range");
  }
  access.at_ns = static_cast<std::int64_t>(reader.getAtNs());
  switch (reader.getKind()) {
    case schema::Trace::Kind::READ:
      access.access = PopulateFor::kReading;
      break;
    case schema::Trace::Kind::WRITTEN:
      access.access = PopulateFor::kWriting;
      break;
    default:
      return corrupt("the kind of page " + hex(access.page.value) + " is unknown");
  }
  switch (reader.getPhase()) {
    case schema::Trace::Phase::RESTORE:
      access.phase = TracePhase::kRestore;
      return access;
    case schema::Trace::Phase::START:
      access.phase = TracePhase::kStart;
      return access;
    case schema::Trace::Phase::REQUEST:
      access.phase = TracePhase::kRequest;
      return access;
  }
  return corrupt("the phase of page " + hex(access.page.value) + " is unknown");
}

Result<AccessTrace> decode(schema::Trace::Reader reader) {
  if (reader.getVersion() > kTraceVersion) {
    return Error{Errc::kNotSupported, 0,
                 "version " + std::to_string(reader.getVersion()) +
                     " of an access trace; this program reads version " +
                     std::to_string(kTraceVersion)};
  }
  if (reader.getVersion() != kTraceVersion) {
    return corrupt("version is " + std::to_string(reader.getVersion()));
  }
  AccessTrace trace;
  const auto id = reader.getSnapshotId();
  if (id.size() != trace.snapshot.bytes.size()) {
    return corrupt("snapshotId has " + std::to_string(id.size()) + " bytes");
  }
  std::ranges::copy(id, trace.snapshot.bytes.begin());
  trace.root = {reader.getRootLow(), reader.getRootHigh()};
  trace.unit_bytes = reader.getUnitBytes();
  trace.created_ns = reader.getCreatedNs();
  const auto accesses = reader.getAccesses();
  if (accesses.size() > kTraceAccessesMax) {
    return corrupt(std::to_string(accesses.size()) + " accesses");
  }
  trace.accesses.reserve(accesses.size());
  for (const auto item : accesses) {
    STASIS_ASSIGN(const PageAccess access, decode_access(item));
    trace.accesses.push_back(access);
  }
  if (auto broken = broken_rule(trace)) {
    return corrupt(*std::move(broken));
  }
  if (checksum_of(trace) != std::array{reader.getChecksumLow(), reader.getChecksumHigh()}) {
    return corrupt("checksum does not match");
  }
  return trace;
}

schema::Trace::Phase phase_of(TracePhase phase) {
  switch (phase) {
    case TracePhase::kRestore:
      return schema::Trace::Phase::RESTORE;
    case TracePhase::kStart:
      return schema::Trace::Phase::START;
    case TracePhase::kRequest:
      break;
  }
  return schema::Trace::Phase::REQUEST;
}

}  // namespace

Result<std::vector<std::byte>> encode_trace(const AccessTrace& trace) {
  if (const auto broken = broken_rule(trace)) {
    return Error{Errc::kInvalidArgument, 0, "access trace: " + *broken};
  }
  capnp::MallocMessageBuilder message(static_cast<unsigned>(64 + (trace.accesses.size() * 3)));
  auto builder = message.initRoot<schema::Trace>();
  builder.setVersion(kTraceVersion);
  builder.setSnapshotId(kj::arrayPtr(trace.snapshot.bytes.data(), trace.snapshot.bytes.size()));
  builder.setRootLow(trace.root.low);
  builder.setRootHigh(trace.root.high);
  builder.setUnitBytes(trace.unit_bytes);
  builder.setCreatedNs(trace.created_ns);
  auto accesses = builder.initAccesses(static_cast<unsigned>(trace.accesses.size()));
  for (unsigned i = 0; i < accesses.size(); ++i) {
    const PageAccess& access = trace.accesses[i];
    accesses[i].setPage(access.page.value);
    accesses[i].setAtNs(static_cast<std::uint64_t>(access.at_ns));
    accesses[i].setKind(access.access == PopulateFor::kWriting ? schema::Trace::Kind::WRITTEN
                                                               : schema::Trace::Kind::READ);
    accesses[i].setPhase(phase_of(access.phase));
  }
  const std::array<std::uint64_t, 2> checksum = checksum_of(trace);
  builder.setChecksumLow(checksum[0]);
  builder.setChecksumHigh(checksum[1]);
  return internal::bytes_of(message);
}

Result<AccessTrace> decode_trace(std::span<const std::byte> file) {
  if (file.size() > kTraceBytesMax || file.size() % sizeof(capnp::word) != 0) {
    return corrupt(std::to_string(file.size()) + " bytes: not whole words, or more than the " +
                   std::to_string(kTraceBytesMax) + " allowed");
  }
  try {
    const internal::AlignedWords words(file);
    capnp::FlatArrayMessageReader reader(words.get(), internal::reader_options(file.size()));
    return decode(reader.getRoot<schema::Trace>());
  } catch (const kj::Exception& exception) {
    return corrupt(exception.getDescription().cStr());
  }
}

}  // namespace stasis::snapshot
