// The only file that names the generated code of schemas/trace.capnp.
#include <string>
#include <unordered_set>
#include <utility>

#include <capnp/message.h>

#include "core/text.h"
#include "schemas/trace.capnp.h"
#include "snapshot/access_trace.h"
#include "snapshot/record_codec.h"

namespace stasis::snapshot {
namespace {

using internal::corrupt_record;

// The rule that `trace` breaks, or nothing.
std::optional<std::string> broken_rule(const AccessTrace& trace) {
  if (auto broken = internal::broken_unit_rule(trace.unit_bytes)) {
    return broken;
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

// What its checksum is of.
std::vector<std::uint64_t> words_of(const AccessTrace& trace) {
  std::vector<std::uint64_t> words =
      internal::head_words(trace, kTraceVersion, trace.accesses.size() * 3);
  for (const PageAccess& access : trace.accesses) {
    words.push_back(access.page.value);
    words.push_back(static_cast<std::uint64_t>(access.at_ns));
    words.push_back(static_cast<std::uint64_t>(access.access) +
                    256 * static_cast<std::uint64_t>(access.phase));
  }
  return words;
}

Result<PageAccess> decode_access(schema::Trace::Access::Reader reader) {
  PageAccess access;
  access.page = Gpa{reader.getPage()};
  if (reader.getAtNs() > static_cast<std::uint64_t>(INT64_MAX)) {
    return corrupt_record("the time of page " + hex(access.page.value) + " is out of range");
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
      return corrupt_record("the kind of page " + hex(access.page.value) + " is unknown");
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
  return corrupt_record("the phase of page " + hex(access.page.value) + " is unknown");
}

Result<AccessTrace> decode(schema::Trace::Reader reader) {
  AccessTrace trace;
  STASIS_TRY(internal::decode_head(reader, kTraceVersion, "an access trace", trace));
  const auto accesses = reader.getAccesses();
  if (accesses.size() > kTraceAccessesMax) {
    return corrupt_record(std::to_string(accesses.size()) + " accesses");
  }
  trace.accesses.reserve(accesses.size());
  for (const auto item : accesses) {
    STASIS_ASSIGN(const PageAccess access, decode_access(item));
    trace.accesses.push_back(access);
  }
  if (auto broken = broken_rule(trace)) {
    return corrupt_record(*std::move(broken));
  }
  STASIS_TRY(internal::check_checksum(reader, words_of(trace)));
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
  internal::encode_head(builder, trace, kTraceVersion);
  auto accesses = builder.initAccesses(static_cast<unsigned>(trace.accesses.size()));
  for (unsigned i = 0; i < accesses.size(); ++i) {
    const PageAccess& access = trace.accesses[i];
    accesses[i].setPage(access.page.value);
    accesses[i].setAtNs(static_cast<std::uint64_t>(access.at_ns));
    accesses[i].setKind(access.access == PopulateFor::kWriting ? schema::Trace::Kind::WRITTEN
                                                               : schema::Trace::Kind::READ);
    accesses[i].setPhase(phase_of(access.phase));
  }
  internal::encode_checksum(builder, words_of(trace));
  return internal::bytes_of(message);
}

Result<AccessTrace> decode_trace(std::span<const std::byte> file) {
  return internal::decode_message<schema::Trace>(file, kTraceBytesMax, decode);
}

}  // namespace stasis::snapshot
