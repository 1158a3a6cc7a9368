// Writes one snapshot: begin, put, commit. Until commit() succeeds nothing is visible under the
// target's name; destroying the writer removes everything it wrote.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/guest_memory.h"
#include "core/machine.h"
#include "core/ranges.h"
#include "core/result.h"
#include "snapshot/file_system.h"
#include "snapshot/manifest.h"
#include "snapshot/progress.h"
#include "snapshot/snapshot_chain.h"

namespace stasis::snapshot {

enum class Durability : std::uint8_t {
  kNone,  // Visible atomically, but a crash of the host may lose or damage it: for experiments.
  kSync,  // On stable storage before it is visible, and visible for good when commit() returns.
};

// What a snapshot is about, other than its memory and its machine. Value.
struct SnapshotFacts {
  std::string creator;  // "stasis 0.1.0 (commit, build type)".
  std::int64_t created_ns = 0;
  Architecture architecture = Architecture::kX86_64;
  BackendKind backend = BackendKind::kKvm;
  ClockPolicy clock_policy = ClockPolicy::kHostCounter;
  std::vector<std::string> cpu_features = {};  // In any order.
  std::vector<Label> labels = {};
};

// Given the hidden directory in which a replaced snapshot lies, removes it with
// snapshot::discard(), now or later: it may take seconds where the file system tells the device
// about every freed block. Empty: at once.
using Dispose = std::function<void(std::string directory)>;

struct WriterOptions {
  Layout layout = Layout::kMappable;
  Codec codec = Codec::kNone;              // kLz4 needs kPacked.
  std::uint32_t chunk_bytes = 64U << 10U;  // Power of two, page size .. 2 MiB.
  std::uint32_t threads = 2;               // 1 .. 64, for put_memory().
  Durability durability = Durability::kSync;
  // An existing snapshot of that name is replaced in one step; otherwise kAlreadyExists. Never
  // replaces anything that is not a snapshot, nor an ancestor of the new snapshot.
  bool replace_existing = false;
  Dispose dispose = {};
  // Makes a differential snapshot. Borrowed until the writer is gone.
  const SnapshotChain* parent = nullptr;
  Supervision supervision = {};
};

// What a committed snapshot holds. Value.
struct WriteReport {
  SnapshotId id;
  ContentRoot root;
  std::uint64_t memory_bytes = 0;      // Of the guest.
  std::uint64_t considered_bytes = 0;  // Scanned: all, or the dirty ranges.
  std::uint64_t zero_bytes = 0;        // In zero extents.
  std::uint64_t raw_bytes = 0;         // Stored, before compression.
  std::uint64_t stored_bytes = 0;      // Stored, in the payload (without holes).
  std::uint64_t manifest_bytes = 0, index_bytes = 0;
  [[nodiscard]] std::uint64_t written_bytes() const {
    return stored_bytes + manifest_bytes + index_bytes;
  }
};

// Where put_memory() takes guest bytes from. Thread-safe.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  [[nodiscard]] virtual std::vector<ManifestRegion> regions() const = 0;
  [[nodiscard]] virtual std::uint32_t page_size_bytes() const = 0;
  // The bytes of `range` (inside one region): where they lie, or read into `buffer`, which is grown
  // as needed and belongs to the calling thread.
  virtual Result<std::span<const std::byte>> view(GpaRange range,
                                                  std::vector<std::byte>& buffer) const = 0;
  // Asked after the last view(): whether all of them showed what the source holds.
  [[nodiscard]] virtual Result<void> check_views() const { return {}; }
};

// Not thread-safe. Move-only.
class SnapshotWriter {
 public:
  // Removes temporaries that died savers left beside the target, then creates its own. Errors:
  // kInvalidArgument (options that contradict each other), kAlreadyExists, kIo (read-only or
  // missing directory: the message names it).
  static Result<SnapshotWriter> begin(FileSystem& file_system, const std::string& target,
                                      SnapshotFacts facts, WriterOptions options);
  ~SnapshotWriter();
  SnapshotWriter(SnapshotWriter&&) noexcept;
  SnapshotWriter& operator=(SnapshotWriter&&) noexcept;
  SnapshotWriter(const SnapshotWriter&) = delete;
  SnapshotWriter& operator=(const SnapshotWriter&) = delete;

  // Instead of what the facts said: for a writer that began before the moment that it saves.
  void put_moment(std::int64_t created_ns, std::vector<std::string> cpu_features);
  void put_machine(MachineState machine);

  // Exactly one of these, once. Nothing may write the memory meanwhile (pause the Machine). Those
  // with `dirty` are for differential snapshots: `dirty` is normalized whole pages, a superset of
  // what differs from the parent; pages outside it are inherited. kInvalidArgument, kMismatch
  // (regions or page size differ from the parent's), kIo.
  Result<void> put_memory(const GuestMemory& memory);
  Result<void> put_memory(const GuestMemory& memory, const GpaRanges& dirty);
  Result<void> put_memory(const MemorySource& source);
  Result<void> put_memory(const MemorySource& source, const GpaRanges& dirty);

  // Publishes: files synced, directory synced, renamed to the target, parent directory synced.
  // kInvalidArgument if something was not put. After kIo from the very last sync the snapshot is
  // visible but may not survive a crash; the message says so.
  Result<WriteReport> commit() &&;

 private:
  struct State;
  explicit SnapshotWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace stasis::snapshot
