// A recorded working set: the guest pages that a run from a snapshot touched until it had answered.
//
// It lies beside the snapshot in a file of its own and is bound to its content. It says what a
// restore should bring in first, so it decides about time alone: one that is missing, damaged or
// another snapshot's is ignored, and one of an unlike request costs pages that nobody needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/guest_memory.h"
#include "core/result.h"
#include "snapshot/file_system.h"
#include "snapshot/manifest.h"
#include "snapshot/snapshot_reader.h"

namespace stasis::snapshot {

inline constexpr std::string_view kWorkingSetFile = "working-set.capnp";
inline constexpr std::uint32_t kWorkingSetVersion = 1;
inline constexpr std::uint64_t kWorkingSetBytesMax = std::uint64_t{4} << 20U;
inline constexpr std::uint32_t kWorkingSetRunsMax = 65536;

// Value.
struct WorkingSet {
  SnapshotId snapshot;
  ContentRoot root;
  std::uint32_t unit_bytes = 4096;    // Of the host that recorded it: a power of two, 4 .. 64 KiB.
  std::int64_t created_ns = 0;        // Unix time.
  std::vector<PopulatePiece> pieces;  // Ascending, disjoint, whole units, each inside one region.
  friend bool operator==(const WorkingSet&, const WorkingSet&) = default;
};

// The pages of `memory` that this process has mapped now, split into those that it has written and
// those that it shares with a file. Exact for writes where the regions have no huge pages; of what
// was only read it may name more, since the host maps up to 16 file pages around one that is
// touched. `memory` must not be running. kNotSupported where the host has no page map; kOutOfRange
// for more than kWorkingSetRunsMax runs.
Result<std::vector<PopulatePiece>> find_touched(const GuestMemory& memory);

// kInvalidArgument, naming the rule, for one that breaks those above.
Result<std::vector<std::byte>> encode_working_set(const WorkingSet& set);
// kCorruption, naming the field; kNotSupported for a later version. Safe for any bytes; without
// regard to a snapshot.
Result<WorkingSet> decode_working_set(std::span<const std::byte> file);

// Nothing if there is none. kCorruption, kNotSupported and kIo, naming the file; kMismatch for one
// of another snapshot, or one that leaves this snapshot's memory. A caller goes on without.
Result<std::optional<WorkingSet>> read_working_set(FileSystem& file_system,
                                                   const SnapshotReader& snapshot);
// Puts it beside `snapshot`, in the place of the one that is there: a reader finds the old one or
// the new one. kIo names the file; nothing is left behind then.
Result<void> write_working_set(FileSystem& file_system, const SnapshotReader& snapshot,
                               const WorkingSet& set);

}  // namespace stasis::snapshot
