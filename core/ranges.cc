#include "core/ranges.h"

#include <algorithm>

namespace stasis {

GpaRanges normalize(GpaRanges ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const GpaRange& a, const GpaRange& b) { return a.begin < b.begin; });
  GpaRanges merged;
  merged.reserve(ranges.size());
  for (const GpaRange& range : ranges) {
    if (range.size == 0) {
      continue;
    }
    if (!merged.empty() && range.begin <= merged.back().end()) {
      const std::uint64_t end = std::max(merged.back().end().value, range.end().value);
      merged.back().size = end - merged.back().begin.value;
    } else {
      merged.push_back(range);
    }
  }
  return merged;
}

GpaRanges unite(const GpaRanges& a, const GpaRanges& b) {
  GpaRanges all;
  all.reserve(a.size() + b.size());
  std::merge(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(all),
             [](const GpaRange& x, const GpaRange& y) { return x.begin < y.begin; });
  return normalize(std::move(all));
}

GpaRanges intersect(const GpaRanges& a, const GpaRanges& b) {
  GpaRanges both;
  auto i = a.begin();
  auto j = b.begin();
  while (i != a.end() && j != b.end()) {
    const Gpa begin = std::max(i->begin, j->begin);
    const Gpa end = std::min(i->end(), j->end());
    if (begin < end) {
      both.push_back({begin, end.value - begin.value});
    }
    if (i->end() < j->end()) {
      ++i;
    } else {
      ++j;
    }
  }
  return both;
}

GpaRanges subtract(const GpaRanges& a, const GpaRanges& b) {
  GpaRanges rest;
  auto hole = b.begin();
  for (const GpaRange& range : a) {
    Gpa at = range.begin;
    while (hole != b.end() && hole->end() <= at) {
      ++hole;
    }
    for (auto cut = hole; cut != b.end() && cut->begin < range.end(); ++cut) {
      if (cut->begin > at) {
        rest.push_back({at, cut->begin.value - at.value});
      }
      at = std::min(cut->end(), range.end());
    }
    if (at < range.end()) {
      rest.push_back({at, range.end().value - at.value});
    }
  }
  return rest;
}

GpaRanges align_outward(const GpaRanges& ranges, std::uint64_t alignment) {
  GpaRanges aligned = ranges;
  for (GpaRange& range : aligned) {
    const std::uint64_t begin = align_down(range.begin.value, alignment);
    range = {Gpa{begin}, align_up(range.end().value, alignment) - begin};
  }
  return normalize(std::move(aligned));
}

std::uint64_t total_bytes(std::span<const GpaRange> ranges) {
  std::uint64_t bytes = 0;
  for (const GpaRange& range : ranges) {
    bytes += range.size;
  }
  return bytes;
}

bool contains(const GpaRanges& ranges, Gpa gpa) {
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), gpa,
                                      [](Gpa g, const GpaRange& r) { return g < r.begin; });
  return after != ranges.begin() && std::prev(after)->contains(gpa);
}

}  // namespace stasis
