// The only file that names the generated code of schemas/working_set.capnp.
#include <string>
#include <utility>

#include <capnp/message.h>

#include "core/text.h"
#include "schemas/working_set.capnp.h"
#include "snapshot/record_codec.h"
#include "snapshot/working_set.h"

namespace stasis::snapshot {
namespace {

using internal::corrupt_record;

// The rule that `set` breaks, or nothing.
std::optional<std::string> broken_rule(const WorkingSet& set) {
  if (auto broken = internal::broken_unit_rule(set.unit_bytes)) {
    return broken;
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

// What its checksum is of.
std::vector<std::uint64_t> words_of(const WorkingSet& set) {
  std::vector<std::uint64_t> words =
      internal::head_words(set, kWorkingSetVersion, set.pieces.size() * 3);
  for (const PopulatePiece& piece : set.pieces) {
    words.push_back(piece.range.begin.value);
    words.push_back(piece.range.size / set.unit_bytes);
    words.push_back(static_cast<std::uint64_t>(piece.access));
  }
  return words;
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
  return corrupt_record("kind of run " + describe(piece.range) + " is unknown");
}

Result<WorkingSet> decode(schema::WorkingSet::Reader reader) {
  WorkingSet set;
  STASIS_TRY(internal::decode_head(reader, kWorkingSetVersion, "a working set", set));
  const auto runs = reader.getRuns();
  if (runs.size() > kWorkingSetRunsMax) {
    return corrupt_record(std::to_string(runs.size()) + " runs");
  }
  set.pieces.reserve(runs.size());
  for (const auto run : runs) {
    STASIS_ASSIGN(const PopulatePiece piece, decode_run(run, set.unit_bytes));
    set.pieces.push_back(piece);
  }
  if (auto broken = broken_rule(set)) {
    return corrupt_record(*std::move(broken));
  }
  STASIS_TRY(internal::check_checksum(reader, words_of(set)));
  return set;
}

}  // namespace

Result<std::vector<std::byte>> encode_working_set(const WorkingSet& set) {
  if (const auto broken = broken_rule(set)) {
    return Error{Errc::kInvalidArgument, 0, "working set: " + *broken};
  }
  capnp::MallocMessageBuilder message(static_cast<unsigned>(64 + (set.pieces.size() * 2)));
  auto builder = message.initRoot<schema::WorkingSet>();
  internal::encode_head(builder, set, kWorkingSetVersion);
  auto runs = builder.initRuns(static_cast<unsigned>(set.pieces.size()));
  for (unsigned i = 0; i < runs.size(); ++i) {
    const PopulatePiece& piece = set.pieces[i];
    runs[i].setBegin(piece.range.begin.value);
    runs[i].setUnits(static_cast<std::uint32_t>(piece.range.size / set.unit_bytes));
    runs[i].setKind(kind_of(piece.access));
  }
  internal::encode_checksum(builder, words_of(set));
  return internal::bytes_of(message);
}

Result<WorkingSet> decode_working_set(std::span<const std::byte> file) {
  return internal::decode_message<schema::WorkingSet>(file, kWorkingSetBytesMax, decode);
}

}  // namespace stasis::snapshot
