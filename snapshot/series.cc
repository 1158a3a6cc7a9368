#include "snapshot/series.h"

#include <algorithm>
#include <cstddef>

namespace stasis::snapshot {
namespace {

// Index of the full snapshot that `members[index]` stands on, itself perhaps.
std::size_t base_of(std::span<const SeriesMember> members, std::size_t index) {
  while (index > 0 && !members[index].is_full) {
    --index;
  }
  return index;
}

}  // namespace

bool is_flattening_due(std::span<const SeriesMember> members, const SeriesRules& rules) {
  if (members.empty() || members.back().is_full) {
    return false;
  }
  const std::size_t base = base_of(members, members.size() - 1);
  std::uint64_t differences_bytes = 0;
  for (const SeriesMember& member : members.subspan(base + 1)) {
    differences_bytes += member.stored_bytes;
  }
  return differences_bytes >= members[base].stored_bytes ||
         members.size() - 1 - base >= rules.depth_max;
}

std::vector<std::uint64_t> removable(std::span<const SeriesMember> members,
                                     const SeriesRules& rules) {
  std::vector<std::uint64_t> numbers;
  const std::size_t kept = std::min<std::size_t>(rules.keep, members.size());
  if (kept == members.size()) {
    return numbers;
  }
  // All from the oldest kept one's base on are parents of what is kept.
  const std::size_t needed = base_of(members, members.size() - kept);
  for (const SeriesMember& member : members.first(needed)) {
    numbers.push_back(member.number);
  }
  return numbers;
}

}  // namespace stasis::snapshot
