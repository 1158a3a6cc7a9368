#include "snapshot/working_set.h"

#include <string>
#include <utility>

#include "core/text.h"
#include "snapshot/linux/pagemap.h"
#include "snapshot/record_file.h"

namespace stasis::snapshot {
namespace {

Result<void> check_belongs(const WorkingSet& set, const SnapshotReader& snapshot) {
  STASIS_TRY(internal::check_record_of(set.snapshot, set.root, snapshot));
  for (const PopulatePiece& piece : set.pieces) {
    if (!internal::lies_in_one_region(piece.range, snapshot.manifest())) {
      return Error{Errc::kMismatch, 0,
                   "run " + describe(piece.range) + " is not in one region of the guest's memory"};
    }
  }
  return {};
}

Result<WorkingSet> decode_for(std::span<const std::byte> bytes, const SnapshotReader& snapshot) {
  STASIS_ASSIGN(WorkingSet set, decode_working_set(bytes));
  STASIS_TRY(check_belongs(set, snapshot));
  return set;
}

}  // namespace

Result<std::vector<PopulatePiece>> find_touched(const GuestMemory& memory) {
  STASIS_ASSIGN(const internal::Pagemap pagemap, internal::Pagemap::open());
  std::vector<PopulatePiece> pieces;
  for (const MemoryRegion& region : memory.regions()) {
    const auto append = [&](std::span<std::byte> bytes, bool is_private) {
      const auto offset = static_cast<std::uint64_t>(bytes.data() - region.host);
      pieces.push_back({{region.range.begin + offset, bytes.size()},
                        is_private ? PopulateFor::kWriting : PopulateFor::kReading});
    };
    STASIS_TRY(pagemap.visit_present(std::span(region.host, region.range.size), append));
  }
  STASIS_TRY(memory.check_intact());
  if (pieces.size() > kWorkingSetRunsMax) {
    return Error{Errc::kOutOfRange, 0,
                 "the working set has " + std::to_string(pieces.size()) + " runs of pages; " +
                     std::to_string(kWorkingSetRunsMax) + " can be recorded"};
  }
  return pieces;
}

Result<std::optional<WorkingSet>> read_working_set(FileSystem& file_system,
                                                   const SnapshotReader& snapshot) {
  const std::string path = join_path(snapshot.path(), kWorkingSetFile);
  STASIS_ASSIGN(const auto bytes, internal::read_record(file_system, path, kWorkingSetBytesMax));
  if (!bytes) {
    return std::optional<WorkingSet>();
  }
  auto set = decode_for(*bytes, snapshot);
  if (!set) {
    return std::move(set).error().with_context("'" + path + "'");
  }
  return std::optional<WorkingSet>(*std::move(set));
}

Result<void> write_working_set(FileSystem& file_system, const SnapshotReader& snapshot,
                               const WorkingSet& set) {
  STASIS_TRY(check_belongs(set, snapshot));
  STASIS_ASSIGN(const std::vector<std::byte> bytes, encode_working_set(set));
  auto written = internal::write_record(file_system, snapshot.path(), kWorkingSetFile, bytes);
  return written ? written : std::move(written).error().with_context("record a working set");
}

}  // namespace stasis::snapshot
