// Compares two snapshots: guest memory page by page, everything else value by value.
#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/mutex.h"
#include "snapshot/checksum.h"
#include "snapshot/operations.h"
#include "snapshot/operations/parallel.h"

namespace stasis::snapshot {
namespace {

constexpr std::uint64_t kPieceBytes = std::uint64_t{2} << 20U;

GpaRanges ranges_of(const Manifest& manifest) {
  GpaRanges ranges;
  for (const ManifestRegion& region : manifest.regions) {
    ranges.push_back(region.range);
  }
  return normalize(std::move(ranges));
}

// Where both chains take a page from the same bytes of the same snapshot, or both are zero, it need
// not be read. Both lists are in address order.
GpaRanges shared_ranges(const ChainContents& a, const ChainContents& b) {
  GpaRanges shared;
  auto i = a.extents().begin();
  auto j = b.extents().begin();
  while (i != a.extents().end() && j != b.extents().end()) {
    const Gpa begin = std::max(i->range.begin, j->range.begin);
    const Gpa end = std::min(i->range.end(), j->range.end());
    const bool both_zero = i->kind == ExtentKind::kZero && j->kind == ExtentKind::kZero;
    const bool same_snapshot = is_stored(i->kind) && is_stored(j->kind) &&
                               a.chain().at(i->depth).root() == b.chain().at(j->depth).root();
    if (begin < end && (both_zero || same_snapshot)) {
      shared.push_back({begin, end.value - begin.value});
    }
    if (i->range.end() < j->range.end()) {
      ++i;
    } else {
      ++j;
    }
  }
  return normalize(std::move(shared));
}

// Pieces inside `ranges` that cross neither a region's end in either chain nor kPieceBytes.
std::vector<GpaRange> pieces_of(const GpaRanges& ranges, const Manifest& a, const Manifest& b) {
  std::vector<GpaRange> pieces;
  for (const Manifest* manifest : {&a, &b}) {
    std::vector<GpaRange> cut;
    const std::vector<GpaRange>& input = manifest == &a ? ranges : pieces;
    for (const ManifestRegion& region : manifest->regions) {
      for (const GpaRange& piece : intersect(input, {region.range})) {
        cut.push_back(piece);
      }
    }
    pieces = std::move(cut);
  }
  std::vector<GpaRange> small;
  for (const GpaRange& piece : pieces) {
    for (std::uint64_t i = 0; i < chunk_count_of(piece, kPieceBytes); ++i) {
      small.push_back(chunk_range_of(piece, i, kPieceBytes));
    }
  }
  return small;
}

// Finds the pages of one piece that differ.
class PageCompare {
 public:
  PageCompare(const ChainContents& a, const ChainContents& b) : a_(a), b_(b) {}

  Result<GpaRanges> compare(GpaRange piece) {
    bytes_a_.resize(piece.size);
    bytes_b_.resize(piece.size);
    STASIS_TRY(a_.read(piece, bytes_a_, CheckChunks::kYes, scratch_));
    STASIS_TRY(b_.read(piece, bytes_b_, CheckChunks::kYes, scratch_));
    GpaRanges pages;
    const std::uint64_t page = a_.chain().manifest().page_size_bytes;
    for (std::uint64_t at = 0; at < piece.size; at += page) {
      if (std::memcmp(bytes_a_.data() + at, bytes_b_.data() + at, page) != 0) {
        pages.push_back({piece.begin + at, page});
      }
    }
    return pages;
  }

 private:
  const ChainContents& a_;
  const ChainContents& b_;
  std::vector<std::byte> bytes_a_, bytes_b_;
  ReadScratch scratch_;
};

Result<void> compare_memory(const ChainContents& a, const ChainContents& b, std::uint32_t threads,
                            const Supervision& supervision, DiffReport& report) {
  const GpaRanges ranges_a = ranges_of(a.chain().manifest());
  const GpaRanges ranges_b = ranges_of(b.chain().manifest());
  report.only_in_a = subtract(ranges_a, ranges_b);
  report.only_in_b = subtract(ranges_b, ranges_a);
  const GpaRanges unknown = subtract(intersect(ranges_a, ranges_b), shared_ranges(a, b));
  report.compared_bytes = total_bytes(unknown);

  const std::vector<GpaRange> pieces =
      pieces_of(unknown, a.chain().manifest(), b.chain().manifest());
  std::vector<PageCompare> workers(std::max(threads, 1U), PageCompare(a, b));
  std::vector<GpaRanges> found(pieces.size());  // Each piece has a place of its own.
  STASIS_TRY(internal::for_each_piece(
      pieces.size(), threads, report.compared_bytes, supervision,
      [&pieces](std::size_t i) { return pieces[i].size; },
      [&](std::size_t thread, std::size_t i) -> Result<void> {
        STASIS_ASSIGN(found[i], workers[thread].compare(pieces[i]));
        return {};
      }));
  for (const GpaRanges& pages : found) {
    report.pages.insert(report.pages.end(), pages.begin(), pages.end());
  }
  report.pages = normalize(std::move(report.pages));
  return {};
}

std::string describe_bytes(const std::vector<std::byte>& bytes) {
  return std::to_string(bytes.size()) + " bytes, checksum " +
         std::to_string(chunk_checksum(bytes, Gpa{}));
}

std::string_view name_of_activity(VcpuActivity activity) {
  switch (activity) {
    case VcpuActivity::kRunning:
      return "running";
    case VcpuActivity::kParked:
      return "parked";
    case VcpuActivity::kHalted:
      return "halted";
  }
  return "unknown";
}

// All facts of a manifest that mean something for the guest, by name.
std::vector<NamedValue> facts_of(const Manifest& manifest) {
  std::vector<NamedValue> facts = {
      {"manifest.clock_policy", std::string(name_of(manifest.clock_policy))},
      {"manifest.backend", std::string(name_of(manifest.backend))},
      {"manifest.vcpus", std::to_string(manifest.machine.vcpus.size())},
  };
  for (const std::string& feature : manifest.cpu_features) {
    facts.push_back({"manifest.cpu_feature." + feature, "needed"});
  }
  for (const Label& label : manifest.labels) {
    facts.push_back({"label." + label.key, label.value});
  }
  const MachineState& machine = manifest.machine;
  for (std::size_t i = 0; i < machine.vcpus.size(); ++i) {
    const std::string prefix = "vcpu" + std::to_string(i) + ".";
    for (NamedValue& value : named_values(machine.vcpus[i])) {
      facts.push_back({prefix + value.name, std::move(value.value)});
    }
    facts.push_back({prefix + "activity", std::string(name_of_activity(machine.activities[i]))});
    facts.push_back({prefix + "wake_pending", machine.wake_pending[i] ? "true" : "false"});
  }
  for (const DeviceState& device : machine.devices) {
    facts.push_back({"device." + device.name + ".version", std::to_string(device.version)});
    facts.push_back({"device." + device.name, describe_bytes(device.bytes)});
  }
  return facts;
}

// In the order of `a`, then what `b` alone has.
std::vector<FieldDifference> compare_facts(const Manifest& a, const Manifest& b) {
  std::map<std::string, std::string> rest;
  std::vector<NamedValue> facts_b = facts_of(b);
  for (const NamedValue& fact : facts_b) {
    rest.emplace(fact.name, fact.value);
  }
  std::vector<FieldDifference> differences;
  for (const NamedValue& fact : facts_of(a)) {
    const auto other = rest.find(fact.name);
    const std::string value = other == rest.end() ? "" : other->second;
    if (value != fact.value) {
      differences.push_back({fact.name, fact.value, value});
    }
    if (other != rest.end()) {
      rest.erase(other);
    }
  }
  for (const NamedValue& fact : facts_b) {
    if (rest.contains(fact.name)) {
      differences.push_back({fact.name, "", fact.value});
    }
  }
  return differences;
}

}  // namespace

Result<DiffReport> diff(const SnapshotChain& a, const SnapshotChain& b, std::uint32_t threads,
                        const Supervision& supervision) {
  const Manifest& manifest_a = a.manifest();
  const Manifest& manifest_b = b.manifest();
  if (manifest_a.architecture != manifest_b.architecture ||
      manifest_a.page_size_bytes != manifest_b.page_size_bytes) {
    return Error{Errc::kMismatch, 0,
                 "'" + a.leaf().path() + "' (" + std::string(name_of(manifest_a.architecture)) +
                     ", pages of " + std::to_string(manifest_a.page_size_bytes) + ") and '" +
                     b.leaf().path() + "' (" + std::string(name_of(manifest_b.architecture)) +
                     ", pages of " + std::to_string(manifest_b.page_size_bytes) +
                     ") cannot be compared"};
  }
  STASIS_ASSIGN(const ChainContents contents_a, ChainContents::open(a));
  STASIS_ASSIGN(const ChainContents contents_b, ChainContents::open(b));
  DiffReport report;
  STASIS_TRY(compare_memory(contents_a, contents_b, threads, supervision, report));
  report.fields = compare_facts(manifest_a, manifest_b);
  return report;
}

}  // namespace stasis::snapshot
