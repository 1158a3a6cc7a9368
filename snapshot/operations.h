// What one can do with snapshots on disk without running them: verify, merge, compare, describe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/ranges.h"
#include "core/result.h"
#include "snapshot/file_system.h"
#include "snapshot/manifest.h"
#include "snapshot/progress.h"
#include "snapshot/snapshot_chain.h"
#include "snapshot/snapshot_writer.h"

namespace stasis::snapshot {

// Something wrong with a snapshot. Value.
struct Finding {
  std::string file;
  std::optional<std::uint64_t> offset;  // In `file`.
  std::optional<GpaRange> range;        // The guest bytes concerned.
  std::string cause;
  friend bool operator==(const Finding&, const Finding&) = default;
};
std::string to_string(const Finding& finding);

struct VerifyReport {
  std::vector<Finding> findings;  // Empty: everything is as it was written.
  std::size_t snapshots = 0;      // Of the chain that were reached.
  std::uint64_t checked_chunks = 0;
  std::uint64_t checked_bytes = 0;  // Raw.
};

inline constexpr std::size_t kFindingsMax = 1000;  // Of each snapshot; then it stops looking.

// Every checksum and every extent of the snapshot and of all its ancestors. What is damaged becomes
// a finding, also a manifest that cannot be read; an Error is only for cancellation and for a path
// that is no snapshot at all (kNotFound).
Result<VerifyReport> verify(FileSystem& file_system, const std::string& path, std::uint32_t threads,
                            const Supervision& supervision);

struct MergeOptions {
  Layout layout = Layout::kMappable;
  Codec codec = Codec::kNone;
  std::uint32_t chunk_bytes = 64U << 10U;
  std::uint32_t threads = 2;
  Durability durability = Durability::kSync;
  bool replace_existing = false;
  Dispose dispose = {};  // Of what is replaced.
  std::string creator;
  std::int64_t created_ns = 0;
  Supervision supervision = {};
};

// Writes a full snapshot with the contents of `chain`'s leaf to `target`; every chunk is checked
// on the way. The new snapshot has its own id, and the leaf's labels.
Result<WriteReport> merge(FileSystem& file_system, const SnapshotChain& chain,
                          const std::string& target, const MergeOptions& options);

// The first half of removing a snapshot: it disappears at once, whatever happens to the host
// meanwhile. Returns the hidden directory in which it lies now. What others have mapped or open of
// it stays theirs; snapshots that have it as their parent are lost. kNotFound; kAlreadyExists for a
// directory that is not a snapshot; kIo.
Result<std::string> hide(FileSystem& file_system, const std::string& path);
// The second half: frees the space. What does not let itself be removed stays hidden, and goes when
// a snapshot is next saved under that name.
void discard(FileSystem& file_system, const std::string& directory);
// What saves and removals that were killed have left in `directory`, for discard(), by the one who
// alone saves there.
std::vector<std::string> leftovers_in(FileSystem& file_system, const std::string& directory);

// One value that differs. `a` or `b` is empty where the other snapshot alone has it.
struct FieldDifference {
  std::string name;  // "vcpu0.general.rip", "device.doorbell", "manifest.clock_policy"
  std::string a, b;
  friend bool operator==(const FieldDifference&, const FieldDifference&) = default;
};

struct DiffReport {
  GpaRanges pages;                      // That differ; whole pages.
  GpaRanges only_in_a, only_in_b;       // RAM that the other does not have.
  std::uint64_t compared_bytes = 0;     // Read; the rest is known to be shared.
  std::vector<FieldDifference> fields;  // Registers, devices and facts, not ids and times.
};

// kMismatch if architecture or page size differ.
Result<DiffReport> diff(const SnapshotChain& a, const SnapshotChain& b, std::uint32_t threads,
                        const Supervision& supervision);

// What a full snapshot of the same pause says about a differential one. Value.
struct CompletenessReport {
  std::uint64_t page_size_bytes = 0;
  GpaRanges changed;    // Since the parent: pages in which the full snapshot differs from it.
  GpaRanges reported;   // Pages that the differential snapshot itself holds.
  GpaRanges missed;     // False negatives: changed, and taken from the parent all the same.
  GpaRanges wrong;      // Held, with other bytes than the full snapshot has.
  GpaRanges unchanged;  // False positives: held, and equal to the parent.
  // Values of vCPUs and devices that differ. Any: the snapshots are not of the same pause, and the
  // pages prove nothing.
  std::vector<FieldDifference> state;
  [[nodiscard]] bool complete() const { return missed.empty() && wrong.empty() && state.empty(); }
};

// Lays `difference` over its parents and compares it with `full`, page by page. Chunk checksums are
// verified on the way. kInvalidArgument if `difference` has no parent, kMismatch if the two do not
// have the same guest memory, else as SnapshotChain::open() of the parent.
Result<CompletenessReport> verify_diff(FileSystem& file_system, const SnapshotChain& difference,
                                       const SnapshotChain& full, std::uint32_t threads,
                                       const Supervision& supervision);

// All values of a vCPU's state by name, as diff() shows them: "general.rip" -> "0x1000".
struct NamedValue {
  std::string name, value;
  friend bool operator==(const NamedValue&, const NamedValue&) = default;
};
std::vector<NamedValue> named_values(const VcpuState& state);

// What `stasis inspect` shows besides the manifest itself. Value.
struct Inspection {
  struct Kind {
    ExtentKind kind = ExtentKind::kZero;
    std::uint64_t extents = 0, bytes = 0;
  };
  std::vector<Kind> kinds;     // Of the leaf's own extents; all four, in order.
  std::vector<Kind> resolved;  // Of the whole chain; none is kInherited.
  std::uint64_t memory_bytes = 0;
  std::uint64_t raw_bytes = 0;     // Stored by the leaf, before compression.
  std::uint64_t stored_bytes = 0;  // In its payload, without holes.
  std::uint64_t manifest_bytes = 0, index_bytes = 0, payload_bytes = 0;
  double compression_ratio = 1;  // raw / stored.
  struct Ancestor {
    std::string path;
    SnapshotId id;
    std::uint64_t resolved_bytes = 0;  // Of the leaf's memory that lie in it.
  };
  std::vector<Ancestor> ancestors;  // The leaf first.
};
Result<Inspection> inspect(const SnapshotChain& chain);

}  // namespace stasis::snapshot
