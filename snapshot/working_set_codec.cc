// The only file that names the generated code of schemas/working_set.capnp.
#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <utility>

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include "core/text.h"
#include "schemas/working_set.capnp.h"
#include "snapshot/checksum.h"
#include "snapshot/manifest_codec.h"
#include "snapshot/words.h"
#include "snapshot/working_set.h"

namespace stasis::snapshot {
namespace {

constexpr std::uint32_t kUnitBytesMin = 4096;
constexpr std::uint32_t kUnitBytesMax = 65536;

Error corrupt(std::string message) {
  return Error{Errc::kCorruption, 0, std::move(message)};
}

// The rule that `set` breaks, or nothing.
std::optional<std::string> broken_rule(const WorkingSet& set) {
  if (!std::has_single_bit(set.unit_bytes) || set.unit_bytes < kUnitBytesMin ||
      set.unit_bytes > kUnitBytesMax) {
    return "unitBytes is " + std::to_string(set.unit_bytes) +
           ", not a power of two from 4096 to 65536";
  }
  if (set.pieces.size() > kWorkingSetRunsMax) {
    return std::to_string(set.pieces.size()) + " runs, more than the " +
           std::to_string(kWorkingSetRunsMax) + " allowed";
  }
  Gpa free_from{0};
  for (const PopulatePiece& piece : set.pieces) {
    const GpaRange range = piece.range;
    const bool possible = range.size != 0 && is_aligned(range.begin.value, set.unit_bytes) &&
                          is_aligned(range.size, set.unit_bytes) && range.begin >= free_from &&
                          fits(range.begin.value, range.size, kGuestAddressMax) &&
                          range.size / set.unit_bytes <= UINT32_MAX;
    if (!possible) {
      return "run " + describe(range) + " is empty, out of order or no whole units below 2^52";
    }
    free_from = range.end();
  }
  return std::nullopt;
}

std::array<std::uint64_t, 2> checksum_of(const WorkingSet& set) {
  const auto [id_low, id_high] = std::bit_cast<std::array<std::uint64_t, 2>>(set.snapshot.bytes);
  std::vector<std::uint64_t> words = {kWorkingSetVersion,
                                      id_low,
                                      id_high,
                                      set.root.low,
                                      set.root.high,
                                      set.unit_bytes,
                                      static_cast<std::uint64_t>(set.created_ns)};
  words.reserve(words.size() + set.pieces.size() * 3);
  for (const PopulatePiece& piece : set.pieces) {
    words.push_back(piece.range.begin.value);
    words.push_back(piece.range.size / set.unit_bytes);
    words.push_back(static_cast<std::uint64_t>(piece.access));
  }
  static_assert(std::endian::native == std::endian::little);  // As the schema has it.
  return wide_checksum(std::as_bytes(std::span(words)));
}

schema::WorkingSet::Kind kind_of(PopulateFor access) {
  return access == PopulateFor::kWriting ? schema::WorkingSet::Kind::WRITTEN
                                         : schema::WorkingSet::Kind::READ;
}

Result<PopulatePiece> decode_run(schema::WorkingSet::Run::Reader run, std::uint32_t unit_bytes) {
  PopulatePiece piece;
  piece.range = {Gpa{run.getBegin()}, std::uint64_t{run.getUnits()} * unit_bytes};
  switch (run.getKind()) {
    case schema::WorkingSet::Kind::READ:
      piece.access = PopulateFor::kReading;
      return piece;
    case schema::WorkingSet::Kind::WRITTEN:
      piece.access = PopulateFor::kWriting;
      return piece;
  }
  return corrupt("kind of run " + describe(piece.range) + " is unknown");
}

Result<WorkingSet> decode(schema::WorkingSet::Reader reader) {
  if (reader.getVersion() > kWorkingSetVersion) {
    return Error{Errc::kNotSupported, 0,
                 "version " + std::to_string(reader.getVersion()) +
                     " of a working set; this program reads version " +
                     std::to_string(kWorkingSetVersion)};
  }
  if (reader.getVersion() != kWorkingSetVersion) {
    return corrupt("version is " + std::to_string(reader.getVersion()));
  }
  WorkingSet set;
  const auto id = reader.getSnapshotId();
  if (id.size() != set.snapshot.bytes.size()) {
    return corrupt("snapshotId has " + std::to_string(id.size()) + " bytes");
  }
  std::ranges::copy(id, set.snapshot.bytes.begin());
  set.root = {reader.getRootLow(), reader.getRootHigh()};
  set.unit_bytes = reader.getUnitBytes();
  set.created_ns = reader.getCreatedNs();
  const auto runs = reader.getRuns();
  if (runs.size() > kWorkingSetRunsMax) {
    return corrupt(std::to_string(runs.size()) + " runs");
  }
  set.pieces.reserve(runs.size());
  for (const auto run : runs) {
    STASIS_ASSIGN(const PopulatePiece piece, decode_run(run, set.unit_bytes));
    set.pieces.push_back(piece);
  }
  if (auto broken = broken_rule(set)) {
    return corrupt(*std::move(broken));
  }
  if (checksum_of(set) != std::array{reader.getChecksumLow(), reader.getChecksumHigh()}) {
    return corrupt("checksum does not match");
  }
  return set;
}

}  // namespace

Result<std::vector<std::byte>> encode_working_set(const WorkingSet& set) {
  if (const auto broken = broken_rule(set)) {
    return Error{Errc::kInvalidArgument, 0, "working set: " + *broken};
  }
  capnp::MallocMessageBuilder message(static_cast<unsigned>(64 + (set.pieces.size() * 2)));
  auto builder = message.initRoot<schema::WorkingSet>();
  builder.setVersion(kWorkingSetVersion);
  builder.setSnapshotId(kj::arrayPtr(set.snapshot.bytes.data(), set.snapshot.bytes.size()));
  builder.setRootLow(set.root.low);
  builder.setRootHigh(set.root.high);
  builder.setUnitBytes(set.unit_bytes);
  builder.setCreatedNs(set.created_ns);
  auto runs = builder.initRuns(static_cast<unsigned>(set.pieces.size()));
  for (unsigned i = 0; i < runs.size(); ++i) {
    const PopulatePiece& piece = set.pieces[i];
    runs[i].setBegin(piece.range.begin.value);
    runs[i].setUnits(static_cast<std::uint32_t>(piece.range.size / set.unit_bytes));
    runs[i].setKind(kind_of(piece.access));
  }
  const std::array<std::uint64_t, 2> checksum = checksum_of(set);
  builder.setChecksumLow(checksum[0]);
  builder.setChecksumHigh(checksum[1]);
  return internal::bytes_of(message);
}

Result<WorkingSet> decode_working_set(std::span<const std::byte> file) {
  if (file.size() > kWorkingSetBytesMax || file.size() % sizeof(capnp::word) != 0) {
    return corrupt(std::to_string(file.size()) + " bytes: not whole words, or more than the " +
                   std::to_string(kWorkingSetBytesMax) + " allowed");
  }
  try {
    const internal::AlignedWords words(file);
    capnp::FlatArrayMessageReader reader(words.get(), internal::reader_options(file.size()));
    return decode(reader.getRoot<schema::WorkingSet>());
  } catch (const kj::Exception& exception) {
    return corrupt(exception.getDescription().cStr());
  }
}

}  // namespace stasis::snapshot
