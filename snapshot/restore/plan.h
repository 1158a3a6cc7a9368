// RestorePlan: how one snapshot becomes the memory of a VM, as a list of small steps. Policies
// (snapshot/policies/) make plans without touching anything; the Restorer executes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/address.h"
#include "core/guest_memory.h"
#include "core/populate.h"
#include "core/ranges.h"
#include "core/result.h"
#include "snapshot/manifest.h"

namespace stasis::snapshot {

// A piece of guest memory and the extent that holds its bytes, after a chain has been resolved:
// never kInherited. `range` lies inside `extent.range`, and is smaller where a newer snapshot of
// the chain covers a part of the extent. Value.
struct SourceExtent {
  GpaRange range;
  std::uint32_t depth = 0;  // 0: the snapshot itself, 1: its parent, ... No meaning for kZero.
  Extent extent;
  friend bool operator==(const SourceExtent&, const SourceExtent&) = default;
};

// What a policy needs to know of one snapshot of the chain. Value.
struct SourceLayer {
  Layout layout = Layout::kMappable;
  std::uint64_t payload_bytes = 0;
  // Whether the payload is a file of this host, which can be mapped.
  bool mappable = true;
  // Guest memory for which the payload has bytes, whether or not a newer snapshot covers it. Only
  // policies that map over extents need it, and only where the chain has more than one snapshot.
  GpaRanges stored = {};
};

// All that policies decide by. Value.
struct PlanInput {
  std::uint32_t page_size_bytes = 4096;
  std::uint64_t host_page_size_bytes = 4096;
  std::vector<ManifestRegion> regions;
  std::vector<SourceLayer> layers;    // By depth.
  std::vector<SourceExtent> extents;  // In address order; every byte of every region once.
  // What a recorded run touched (snapshot/working_set.h): ascending, disjoint. Nothing: no record.
  std::optional<std::vector<PopulatePiece>> touched = {};
  // The same in the order of first touches (snapshot/access_trace.h): disjoint. Nothing: no trace.
  std::optional<std::vector<PopulatePiece>> trace = {};
};

// What the host is told about the use of a mapping. One advice each, not flags: MADV_* are an
// enumeration.
enum class ReadAhead : std::uint8_t { kNormal, kRandom, kSequential, kWillNeed };
std::string_view name_of(ReadAhead read_ahead);

// Payload bytes are compared with their checksums before the guest can see them.
enum class Verify : std::uint8_t { kOff, kOn };

enum class PayloadAccess : std::uint8_t {
  kBuffered,  // Through the host's page cache.
  kDirect,    // Around it (O_DIRECT), where the file system can; else buffered.
};
std::string_view name_of(PayloadAccess access);

// Who provides untouched pages that hold zeros, where others are missing until they are touched.
enum class ZeroPages : std::uint8_t {
  kKernel,   // As far as the limits of mappings allow.
  kHandler,  // So that it sees every first touch.
};
std::string_view name_of(ZeroPages zero_pages);

inline constexpr std::uint32_t kFaultHandlersMax = 16;
inline constexpr std::uint32_t kFaultWindowPagesMax = 512;

// How missing pages are served. Value.
struct FaultService {
  std::uint32_t handlers = 1;      // Threads; 1 .. kFaultHandlersMax.
  std::uint32_t window_pages = 1;  // Host pages from the touched one on, of one chunk at most.
  ZeroPages zero_pages = ZeroPages::kKernel;
  friend bool operator==(const FaultService&, const FaultService&) = default;
};

// ---- Steps ----

// `range` shows the payload of snapshot `depth` from `file_offset` on; writes are copied.
struct MapPrivateFile {
  GpaRange range;
  std::uint32_t depth = 0;
  std::uint64_t file_offset = 0;  // Multiple of the host's page size.
  ReadAhead read_ahead = ReadAhead::kNormal;
  friend bool operator==(const MapPrivateFile&, const MapPrivateFile&) = default;
};

enum class ZeroBy : std::uint8_t {
  kMapping,  // Fresh memory takes the place: costs a mapping, and nothing until it is touched.
  kFilling,  // The bytes are overwritten: costs a copied page each, and no mapping.
};

// `range`, which an earlier step has mapped, becomes zero. Memory that no step touches is zero.
struct Zero {
  GpaRange range;
  ZeroBy by = ZeroBy::kMapping;
  friend bool operator==(const Zero&, const Zero&) = default;
};

// Nothing is in `source.range` until it is touched; then the extent's bytes, checked as the plan
// says (snapshot/restore/pager.h). Anonymous memory and memfd, without reserved huge pages.
struct ServeMissing {
  SourceExtent source;
  friend bool operator==(const ServeMissing&, const ServeMissing&) = default;
};

// Copies raw bytes (kRaw) of the extent into `source.range`.
struct ReadInto {
  SourceExtent source;
  friend bool operator==(const ReadInto&, const ReadInto&) = default;
};

// Decompresses chunks (kLz4) of the extent into `source.range`.
struct DecompressInto {
  SourceExtent source;
  friend bool operator==(const DecompressInto&, const DecompressInto&) = default;
};

using RestoreStep = std::variant<MapPrivateFile, Zero, ServeMissing, ReadInto, DecompressInto>;

// What a plan brings in before it is touched, apart from `populate`.
enum class FetchBy : std::uint8_t {
  kPageCache,  // Asks the host to read the payload behind the ranges into its page cache.
  kCopy,       // Missing pages only, as are those of kMove.
  kMove,
};

// Value.
struct Fetch {
  std::vector<GpaRange> ranges;  // Whole pages of the host, in the order of their fetching.
  FetchBy by = FetchBy::kCopy;
  PayloadAccess read = PayloadAccess::kBuffered;
  std::uint32_t threads = 1;
  bool concurrent = false;  // With the guest, on a thread of its own; else the guest waits.
};

// Value. Steps are applied in order, except that those which fill memory (ReadInto,
// DecompressInto) all come after those which map it, do not overlap one another, and are spread
// over `threads` threads. ServeMissing overlaps nothing.
struct RestorePlan {
  std::string policy;
  std::vector<RegionSpec> regions;  // In address order, as they are created.
  std::vector<RestoreStep> steps;
  // For whoever waits for the guest, to bring into the process meanwhile, in this order
  // (GuestMemory::populate()); the Restorer does not.
  std::vector<PopulatePiece> populate = {};
  FaultService faults = {};  // Of ServeMissing.
  std::optional<Fetch> fetch = {};
  std::uint32_t threads = 1;
  Verify verify = Verify::kOn;
  std::vector<std::string> notes;  // What the policy decided that its name does not say.
};

// Totals for run records and tests. Value.
struct PlanSummary {
  std::uint64_t mappings = 0;         // Of files, and of fresh memory over them.
  std::uint64_t mapped_bytes = 0;     // Of files.
  std::uint64_t filled_bytes = 0;     // Copied or decompressed before the guest runs.
  std::uint64_t populated_bytes = 0;  // Each page once.
  std::uint64_t missing_bytes = 0;    // Served when they are touched.
  std::uint64_t fetched_bytes = 0;    // Each page once.
  friend bool operator==(const PlanSummary&, const PlanSummary&) = default;
};
PlanSummary summarize(const RestorePlan& plan);

// The rules above, checked against the input: every step inside one region, filling steps disjoint
// and after the mapping ones, missing pages apart from all others, offsets aligned and inside the
// payload, populated and fetched pieces whole pages of the host. A plan that breaks them is a bug
// of its policy (kInvalidArgument); the Restorer refuses it before it creates anything.
Result<void> check_plan(const RestorePlan& plan, const PlanInput& input);

}  // namespace stasis::snapshot
