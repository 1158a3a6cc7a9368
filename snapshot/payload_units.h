// How a save divides guest memory among its threads. Private to snapshot/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/ranges.h"
#include "snapshot/manifest.h"

namespace stasis::snapshot::internal {

// Consecutive ranges that one thread works on. Value.
struct PayloadUnit {
  std::uint64_t number = 0;
  std::uint64_t bytes = 0;
  GpaRanges pieces;
};

// Cuts ranges into units at region ends and at multiples of the unit size, which are multiples of
// the chunk size too: extents of neighbouring units then join without a chunk across the joint.
class PayloadUnits {
 public:
  // Of the parts of `ranges` (normalized) that lie in `regions`.
  PayloadUnits(const std::vector<ManifestRegion>& regions, const GpaRanges& ranges,
               std::uint32_t chunk_bytes);

  std::optional<PayloadUnit> next();  // Nothing after the last.
  [[nodiscard]] std::uint64_t total_bytes() const { return stasis::total_bytes(ranges_); }

 private:
  std::uint64_t unit_bytes_;
  GpaRanges ranges_;
  std::size_t index_ = 0;
  std::uint64_t number_ = 0;
};

}  // namespace stasis::snapshot::internal
