// What a snapshot says about itself, as validated values. The bytes are schemas/manifest.capnp, the
// prose is docs/snapshot-format.md.
//
// A snapshot is a directory: `manifest.capnp` (header, then manifest; its rename is the commit
// point), `index.capnp` (the chunk table) and `memory` (the payload). The manifest holds the
// checksum of the index, the index the checksum of every chunk, so ContentRoot covers every byte.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "core/capabilities.h"
#include "core/guest_memory.h"
#include "core/machine.h"
#include "core/vcpu_state.h"

namespace stasis::snapshot {

// Bumped only for a change that an older reader would misread.
inline constexpr std::uint32_t kFormatVersion = 1;

// 128 random bits; printed as 32 hexadecimal digits.
// What says behind a payload whose it is (payload_mark.h).
inline constexpr std::size_t kPayloadMarkBytes = 40;

struct SnapshotId {
  std::array<std::uint8_t, 16> bytes = {};
  friend auto operator<=>(const SnapshotId&, const SnapshotId&) = default;
};
std::string to_string(const SnapshotId& id);

// Nothing unless `text` is exactly 32 hexadecimal digits.
std::optional<SnapshotId> parse_snapshot_id(std::string_view text);
// From the host's random number generator.
SnapshotId random_snapshot_id();

// XXH3-128 of the manifest message (without the header before it). Detects accidents, not
// attackers.
struct ContentRoot {
  std::uint64_t low = 0, high = 0;
  friend bool operator==(const ContentRoot&, const ContentRoot&) = default;
};
std::string to_string(const ContentRoot& root);

inline constexpr std::uint64_t kRegionAlignmentBytes = std::uint64_t{64} << 10U;

// The names of a snapshot's files.
inline constexpr std::string_view kManifestFile = "manifest.capnp";
inline constexpr std::string_view kIndexFile = "index.capnp";
inline constexpr std::string_view kPayloadFile = "memory";

// The numbers of all enumerations below are written to files.
enum class Layout : std::uint8_t {
  kMappable = 1,  // Raw, sparse, in address order: each region lies whole in the file, at the
                  // first multiple of kRegionAlignmentBytes behind the region before it.
  kPacked = 2,    // Only stored pages, back to back; raw extents start at a multiple of the page
                  // size.
};
std::string_view name_of(Layout layout);

enum class Codec : std::uint8_t { kNone = 1, kLz4 = 2 };
std::string_view name_of(Codec codec);

enum class ExtentKind : std::uint8_t {
  kZero = 1,       // All bytes are zero, nothing is stored.
  kRaw = 2,        // Stored as is, contiguous in `memory` from file_offset on.
  kLz4 = 3,        // Stored as chunks, each an LZ4 block, or raw where that is not smaller.
  kInherited = 4,  // As in the parent. Never in a full snapshot.
};
std::string_view name_of(ExtentKind kind);

constexpr bool is_stored(ExtentKind kind) {
  return kind == ExtentKind::kRaw || kind == ExtentKind::kLz4;
}

// A run of pages stored in one way. Extents are in address order and cover every byte of every
// region exactly once: a hole is an error, never a guess.
struct Extent {
  GpaRange range;  // Whole pages, inside one region.
  ExtentKind kind = ExtentKind::kZero;
  // Of the first stored byte in `memory`; the chunks of an extent follow each other without a gap.
  // kRaw: a multiple of the page size. 0 unless is_stored().
  std::uint64_t file_offset = 0;
  // Index of its first chunk: chunks are numbered in the order of extents. 0 unless is_stored().
  std::uint32_t first_chunk = 0;
  friend bool operator==(const Extent&, const Extent&) = default;
};

// One entry of the chunk table. Chunks are cut at the guest addresses that are multiples of
// chunk_bytes, and at both ends of their extent: the first and the last may be short.
struct Chunk {
  std::uint64_t file_offset = 0;
  std::uint32_t stored_bytes = 0;  // == raw length of the chunk: stored raw, also in a kLz4 extent.
  std::uint64_t checksum = 0;      // XXH3-64 of the *raw* bytes, seeded with the chunk's Gpa.
  friend bool operator==(const Chunk&, const Chunk&) = default;
};

// How many chunks `range` (not empty) touches, and the part of it that lies in the i-th of them.
constexpr std::uint64_t chunk_count_of(GpaRange range, std::uint64_t chunk_bytes) {
  return (range.begin.value + (range.size - 1)) / chunk_bytes - range.begin.value / chunk_bytes + 1;
}
constexpr GpaRange chunk_range_of(GpaRange range, std::uint64_t index, std::uint64_t chunk_bytes) {
  // In offsets from the chunk boundary at or below the beginning: the end of `range` may be 2^64.
  const std::uint64_t lead = range.begin.value & (chunk_bytes - 1);
  const std::uint64_t from = index == 0 ? 0 : index * chunk_bytes - lead;
  const std::uint64_t to = (index + 1) * chunk_bytes - lead;
  return GpaRange{range.begin + from, (to < range.size ? to : range.size) - from};
}

struct ParentLink {
  SnapshotId id;
  ContentRoot root;
  std::string
      path;  // As seen from this snapshot's directory, e.g. "../warm". A hint: id and root decide.
  friend bool operator==(const ParentLink&, const ParentLink&) = default;
};

struct ManifestRegion {
  GpaRange range;
  BackingKind backing = BackingKind::kAnonymous;  // As it was; a policy may choose another.
  HugePages huge_pages = HugePages::kTransparent;
  friend bool operator==(const ManifestRegion&, const ManifestRegion&) = default;
};

// Free text for people and tools ("guest": "kvstore"); never changes the meaning of a snapshot.
struct Label {
  std::string key, value;
  friend bool operator==(const Label&, const Label&) = default;
};

// Value. One that came from decode_manifest() has passed every rule of schemas/manifest.capnp.
struct Manifest {
  std::uint32_t format_version = kFormatVersion;
  SnapshotId id;
  std::optional<ParentLink> parent;  // Nothing: a full snapshot.
  std::string creator;               // "stasis 0.1.0 (commit, build type)".
  std::int64_t created_ns = 0;       // Unix time.
  Architecture architecture = Architecture::kX86_64;
  BackendKind backend = BackendKind::kKvm;
  ClockPolicy clock_policy = ClockPolicy::kHostCounter;
  std::vector<std::string> cpu_features;  // Needed to run: sorted names as in Capabilities.

  std::uint32_t page_size_bytes = 4096;
  std::uint32_t chunk_bytes = 64U << 10U;  // Power of two, page size .. 2 MiB.
  Layout layout = Layout::kMappable;
  Codec codec = Codec::kNone;
  std::vector<ManifestRegion> regions;  // In address order, disjoint.
  std::vector<Extent> extents;

  std::uint64_t payload_bytes = 0;                   // Of `memory`, without the mark.
  std::uint32_t payload_mark_bytes = 0;              // Behind them: kPayloadMarkBytes, or 0.
  std::uint32_t chunk_count = 0;                     // Entries of `index.capnp`.
  std::uint64_t index_bytes = 0;                     // Size of `index.capnp`.
  std::array<std::uint64_t, 2> index_checksum = {};  // XXH3-128 of its bytes: low, high.

  MachineState machine;
  std::vector<Label> labels;
  friend bool operator==(const Manifest&, const Manifest&) = default;
};

}  // namespace stasis::snapshot
