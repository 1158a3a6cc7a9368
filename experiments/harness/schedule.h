// The order in which trials run: randomised blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace stasis::experiments {

// The first blocks warm up the host (clock frequency, allocator, page tables of the host) and do
// not count.
inline constexpr std::uint32_t kWarmupBlocks = 3;

// One trial to be made. Value.
struct TrialSlot {
  std::uint32_t block = 0;  // 0, 1, ...; the first `warmup_blocks` are warm-up.
  std::uint32_t order = 0;  // Place within the block.
  std::size_t cell = 0;     // Index of the cell.
  bool warmup = false;
  friend bool operator==(const TrialSlot&, const TrialSlot&) = default;
};

// Every block holds every cell once, in an order of its own, so that drift of the host meets all
// cells alike and values of one block can be compared in pairs. The order of block b depends only
// on the seed, the number of cells and b: more trials continue a shorter run.
std::vector<TrialSlot> make_schedule(std::size_t cells, std::uint32_t trials,
                                     std::uint32_t warmup_blocks, std::uint64_t seed);

}  // namespace stasis::experiments
