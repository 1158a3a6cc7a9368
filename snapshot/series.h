// A series: snapshots of one guest taken one after another, each a difference on the one before
// it, of which the newest are kept. Which of them must be written whole and which may go is decided
// here, without touching a file.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace stasis::snapshot {

// One snapshot of a series. Value.
struct SeriesMember {
  std::uint64_t number = 0;        // 1, 2, ...: ascending in a series.
  std::uint64_t stored_bytes = 0;  // All files.
  bool is_full = false;            // Otherwise a difference on the member before it.
  friend bool operator==(const SeriesMember&, const SeriesMember&) = default;
};

// Value.
struct SeriesRules {
  std::uint32_t keep = 3;  // The newest so many can be restored at any time; at least 1.
  // Differences that may follow a full snapshot: each makes a restore open one more snapshot.
  std::uint32_t depth_max = 32;
};

// The cost rule of flattening. A chain is due to be rewritten as one full snapshot when its
// differences have stored as many bytes as the full snapshot that they stand on, or are depth_max.
// By bytes, flattening at most doubles what is written, as a log-structured store's compaction
// does (O'Neil et al., The log-structured merge-tree, 1996), and a chain never stores more than
// twice a full snapshot, the last difference aside; by depth, what a restore pays for opening it is
// bounded. `members`: what is on the disk, ascending.
bool is_flattening_due(std::span<const SeriesMember> members, const SeriesRules& rules);

// The numbers of those that may be removed, ascending: neither among the newest `keep` nor needed
// by one of them.
std::vector<std::uint64_t> removable(std::span<const SeriesMember> members,
                                     const SeriesRules& rules);

}  // namespace stasis::snapshot
