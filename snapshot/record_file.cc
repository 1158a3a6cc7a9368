#include "snapshot/record_file.h"

#include <algorithm>
#include <array>

namespace stasis::snapshot::internal {
namespace {

// Recorders of one snapshot at the same time must not write into the same file.
std::string temporary_name(std::string_view name) {
  return "." + std::string(name) + "-" + to_string(random_snapshot_id()).substr(0, 16);
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

Result<std::optional<std::vector<std::byte>>> read_record(FileSystem& file_system,
                                                          const std::string& path,
                                                          std::uint64_t bytes_max) {
  using Bytes = std::optional<std::vector<std::byte>>;
  const auto file = file_system.open_file(path);
  if (!file) {
    return file.error().code == Errc::kNotFound ? Result<Bytes>(std::nullopt)
                                                : Result<Bytes>(file.error());
  }
  if ((*file)->size_bytes() > bytes_max) {
    return Error{
        Errc::kCorruption, 0,
        "'" + path + "': " + std::to_string((*file)->size_bytes()) + " bytes are too many"};
  }
  std::vector<std::byte> bytes((*file)->size_bytes());
  STASIS_TRY((*file)->read_at(0, bytes));
  return Bytes(std::move(bytes));
}

Result<void> write_record(FileSystem& file_system, const std::string& directory,
                          std::string_view name, std::span<const std::byte> bytes) {
  const std::string temporary = join_path(directory, temporary_name(name));
  auto written = write_file(file_system, temporary, bytes);
  if (written) {
    written = move_into_place(file_system, temporary, join_path(directory, name));
  }
  if (!written) {
    static_cast<void>(file_system.remove_file(temporary).has_value());
    return written;
  }
  return file_system.sync_directory(directory);
}

Result<void> check_record_of(const SnapshotId& id, const ContentRoot& root,
                             const SnapshotReader& snapshot) {
  const SnapshotId& here = snapshot.manifest().id;
  if (id != here || root != snapshot.root()) {
    return Error{Errc::kMismatch, 0,
                 "belongs to snapshot " + to_string(id) + ", and this is " + to_string(here) +
                     (id == here ? " with other content" : "")};
  }
  return {};
}

bool lies_in_one_region(GpaRange range, const Manifest& manifest) {
  return std::ranges::any_of(manifest.regions, [&](const ManifestRegion& region) {
    return range.begin >= region.range.begin &&
           fits(range.begin.value - region.range.begin.value, range.size, region.range.size);
  });
}

}  // namespace stasis::snapshot::internal
