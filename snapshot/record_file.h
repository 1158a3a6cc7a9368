// Files beside a snapshot that say what a run from it did. They are bound to its content and are
// not a part of it. Private to snapshot/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "snapshot/file_system.h"
#include "snapshot/manifest.h"
#include "snapshot/snapshot_reader.h"

namespace stasis::snapshot::internal {

// The bytes of a file; nothing if there is none. kCorruption for more than `bytes_max`, kIo.
Result<std::optional<std::vector<std::byte>>> read_record(FileSystem& file_system,
                                                          const std::string& path,
                                                          std::uint64_t bytes_max);
// Puts `bytes` at `directory`/`name`, in the place of what is there: a reader finds the old file or
// the new one. kIo names the file; nothing is left behind then.
Result<void> write_record(FileSystem& file_system, const std::string& directory,
                          std::string_view name, std::span<const std::byte> bytes);

// kMismatch, naming both, unless the record is of this snapshot with this content.
Result<void> check_record_of(const SnapshotId& id, const ContentRoot& root,
                             const SnapshotReader& snapshot);
// Whether one region of the snapshot's memory holds all of `range`.
bool lies_in_one_region(GpaRange range, const Manifest& manifest);

}  // namespace stasis::snapshot::internal
