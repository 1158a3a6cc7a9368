#include "snapshot/payload_units.h"

#include <algorithm>

#include "snapshot/block_writer.h"

namespace stasis::snapshot::internal {
namespace {

// What the page cache keeps in one piece when it is written at once (block_writer.h). Small enough
// that what was scanned is still in a cache when it is checksummed and written.
constexpr std::uint64_t kUnitBytes = kFileBlockBytes;
constexpr std::size_t kUnitPiecesMax = 512;

}  // namespace

PayloadUnits::PayloadUnits(const std::vector<ManifestRegion>& regions, const GpaRanges& ranges,
                           std::uint32_t chunk_bytes)
    : unit_bytes_(std::max<std::uint64_t>(kUnitBytes, chunk_bytes)) {
  for (const ManifestRegion& region : regions) {
    for (const GpaRange& part : intersect({region.range}, ranges)) {
      ranges_.push_back(part);
    }
  }
}

std::optional<PayloadUnit> PayloadUnits::next() {
  PayloadUnit unit;
  unit.number = number_;
  while (index_ < ranges_.size() && unit.pieces.size() < kUnitPiecesMax) {
    GpaRange& rest = ranges_[index_];
    const std::uint64_t to_boundary = unit_bytes_ - (rest.begin.value & (unit_bytes_ - 1));
    const std::uint64_t size = std::min(rest.size, to_boundary);
    if (!unit.pieces.empty() && unit.bytes + size > unit_bytes_) {
      break;
    }
    unit.pieces.push_back({rest.begin, size});
    unit.bytes += size;
    rest = {rest.begin + size, rest.size - size};
    if (rest.size == 0) {
      ++index_;
    }
  }
  if (unit.pieces.empty()) {
    return std::nullopt;
  }
  ++number_;
  return unit;
}

}  // namespace stasis::snapshot::internal
