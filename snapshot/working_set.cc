#include "snapshot/working_set.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "core/text.h"
#include "snapshot/linux/pagemap.h"

namespace stasis::snapshot {
namespace {

// Recorders of one snapshot at the same time must not write into the same file.
std::string temporary_name() {
  return "." + std::string(kWorkingSetFile) + "-" + to_string(random_snapshot_id()).substr(0, 16);
}

bool lies_in_one_region(GpaRange range, const Manifest& manifest) {
  return std::ranges::any_of(manifest.regions, [&](const ManifestRegion& region) {
    return range.begin >= region.range.begin &&
           fits(range.begin.value - region.range.begin.value, range.size, region.range.size);
  });
}

Result<void> check_belongs(const WorkingSet& set, const SnapshotReader& snapshot) {
  const Manifest& manifest = snapshot.manifest();
  if (set.snapshot != manifest.id || set.root != snapshot.root()) {
    return Error{Errc::kMismatch, 0,
                 "belongs to snapshot " + to_string(set.snapshot) + ", and this is " +
                     to_string(manifest.id) +
                     (set.snapshot == manifest.id ? " with other content" : "")};
  }
  for (const PopulatePiece& piece : set.pieces) {
    if (!lies_in_one_region(piece.range, manifest)) {
      return Error{Errc::kMismatch, 0,
                   "run " + describe(piece.range) + " is not in one region of the guest's memory"};
    }
  }
  return {};
}

Result<WorkingSet> read_file(const ReadableFile& file, const SnapshotReader& snapshot) {
  if (file.size_bytes() > kWorkingSetBytesMax) {
    return Error{Errc::kCorruption, 0, std::to_string(file.size_bytes()) + " bytes are too many"};
  }
  std::vector<std::byte> bytes(file.size_bytes());
  STASIS_TRY(file.read_at(0, bytes));
  STASIS_ASSIGN(WorkingSet set, decode_working_set(bytes));
  STASIS_TRY(check_belongs(set, snapshot));
  return set;
}

Result<void> write_file(FileSystem& file_system, const std::string& path,
                        std::span<const std::byte> bytes) {
  STASIS_ASSIGN(const auto file, file_system.create_file(path));
  const std::array<std::span<const std::byte>, 1> pieces = {bytes};
  STASIS_TRY(file->write_at(0, pieces));
  STASIS_TRY(file->sync());
  return file->close();
}

// `temporary` takes the place of `target`, which may be there.
Result<void> move_into_place(FileSystem& file_system, const std::string& temporary,
                             const std::string& target) {
  auto renamed = file_system.rename(temporary, target);
  if (renamed || renamed.error().code != Errc::kAlreadyExists) {
    return renamed;
  }
  STASIS_TRY(file_system.exchange(temporary, target));
  return file_system.remove_file(temporary);
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
  const auto file = file_system.open_file(join_path(snapshot.path(), kWorkingSetFile));
  if (!file) {
    return file.error().code == Errc::kNotFound ? Result<std::optional<WorkingSet>>(std::nullopt)
                                                : Result<std::optional<WorkingSet>>(file.error());
  }
  auto set = read_file(**file, snapshot);
  if (!set) {
    return std::move(set).error().with_context("'" + (*file)->path() + "'");
  }
  return std::optional<WorkingSet>(*std::move(set));
}

Result<void> write_working_set(FileSystem& file_system, const SnapshotReader& snapshot,
                               const WorkingSet& set) {
  STASIS_TRY(check_belongs(set, snapshot));
  STASIS_ASSIGN(const std::vector<std::byte> bytes, encode_working_set(set));
  const std::string temporary = join_path(snapshot.path(), temporary_name());
  auto written = write_file(file_system, temporary, bytes);
  if (written) {
    written = move_into_place(file_system, temporary, join_path(snapshot.path(), kWorkingSetFile));
  }
  if (!written) {
    static_cast<void>(file_system.remove_file(temporary).has_value());
    return std::move(written).error().with_context("record a working set");
  }
  return file_system.sync_directory(snapshot.path());
}

}  // namespace stasis::snapshot
