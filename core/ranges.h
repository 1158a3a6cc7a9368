// Sets of guest-physical bytes as sorted lists of ranges: the currency of dirty trackers, restore
// plans and snapshot extents.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/address.h"

namespace stasis {

// Value. Invariant of every function here: sorted by address, disjoint, no empty range, adjacent
// ranges merged. Two GpaRanges that hold the same bytes therefore compare equal.
using GpaRanges = std::vector<GpaRange>;

// Sorts, merges and drops empty ranges. `ranges` may be in any order and may overlap.
GpaRanges normalize(GpaRanges ranges);

// The inputs must be normalized. Linear time.
GpaRanges unite(const GpaRanges& a, const GpaRanges& b);
GpaRanges intersect(const GpaRanges& a, const GpaRanges& b);
GpaRanges subtract(const GpaRanges& a, const GpaRanges& b);

// Widens each range to whole units of `alignment` bytes (a power of two) and normalizes.
GpaRanges align_outward(const GpaRanges& ranges, std::uint64_t alignment);

std::uint64_t total_bytes(std::span<const GpaRange> ranges);
bool contains(const GpaRanges& ranges, Gpa gpa);

}  // namespace stasis
