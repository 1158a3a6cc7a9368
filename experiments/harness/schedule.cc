#include "experiments/harness/schedule.h"

#include <numeric>

#include "experiments/stats/random.h"

namespace stasis::experiments {

std::vector<TrialSlot> make_schedule(std::size_t cells, std::uint32_t trials,
                                     std::uint32_t warmup_blocks, std::uint64_t seed) {
  std::vector<TrialSlot> slots;
  slots.reserve(cells * (std::size_t{trials} + warmup_blocks));
  for (std::uint32_t block = 0; block < trials + warmup_blocks; ++block) {
    std::vector<std::size_t> order(cells);
    std::iota(order.begin(), order.end(), std::size_t{0});
    Random(Random::derive(seed, block)).shuffle(order);
    for (std::size_t place = 0; place < cells; ++place) {
      slots.push_back({.block = block,
                       .order = static_cast<std::uint32_t>(place),
                       .cell = order[place],
                       .warmup = block < warmup_blocks});
    }
  }
  return slots;
}

}  // namespace stasis::experiments
