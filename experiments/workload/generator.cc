#include "experiments/workload/generator.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <utility>

#include "core/check.h"
#include "experiments/harness/workload.h"
#include "experiments/stats/random.h"
#include "experiments/workload/footprint.h"
#include "guests/abi.h"
#include "guests/programs/pagetoucher_content.h"

namespace stasis::experiments {
namespace {

// Pages [begin, begin + length). Value.
struct Run {
  std::uint64_t begin = 0, length = 0;
};

// Which part of the seed draws what.
enum class Part : std::uint64_t { kRuns, kSmallGaps, kLargeGaps, kPlaces, kDrift, kOrder, kWrites };

Random random_of(std::uint64_t seed, Part part) {
  return Random(Random::derive(seed, static_cast<std::uint64_t>(part)));
}

// `total` as a sum of `parts` numbers of at least 1, every such sum as likely as any other: what
// geometric draws are, given their sum. `parts` is not more than `total`; 0 parts of 0 are none.
std::vector<std::uint64_t> compose(std::uint64_t total, std::uint64_t parts, Random random) {
  std::vector<std::uint64_t> numbers;
  if (parts == 0) {
    return numbers;
  }
  std::set<std::uint64_t> cuts;
  while (cuts.size() + 1 < parts) {
    cuts.insert(1 + random.below(total - 1));
  }
  std::uint64_t before = 0;
  for (const std::uint64_t cut : cuts) {
    numbers.push_back(cut - before);
    before = cut;
  }
  numbers.push_back(total - before);
  random.shuffle(numbers);  // Costs nothing, and hides the order of a set.
  return numbers;
}

// `total` in `parts` numbers of at least `least` that differ by orders of magnitude: Pareto weights
// with an index of 1.
std::vector<std::uint64_t> compose_heavy(std::uint64_t total, std::uint64_t parts,
                                         std::uint64_t least, Random random) {
  STASIS_CHECK(parts > 0 && total >= parts * least);
  std::vector<double> weights(parts);
  double sum = 0;
  for (double& weight : weights) {
    weight = 1 / (1 - random.uniform());
    sum += weight;
  }
  std::vector<std::uint64_t> numbers(parts);
  const std::uint64_t divided = total - parts * least;
  std::uint64_t left = divided;
  for (std::size_t i = 0; i < parts; ++i) {
    const auto share = static_cast<std::uint64_t>(static_cast<double>(divided) * weights[i] / sum);
    numbers[i] = least + std::min(left, share);
    left -= numbers[i] - least;
  }
  numbers.back() += left;
  return numbers;
}

std::uint64_t rounded(double value) {
  return static_cast<std::uint64_t>(std::llround(value));
}

std::uint64_t runs_of(std::uint64_t pages, double mean_run) {
  return std::clamp<std::uint64_t>(rounded(static_cast<double>(pages) / mean_run), 1, pages);
}

// The runs of the first input, ascending, with gaps of at least a page between them.
std::vector<Run> place_runs(const Profile& profile, std::uint64_t seed) {
  const std::uint64_t usable = usable_mib(profile.memory_mib) * kPagesPerMib;
  const std::uint64_t count = runs_of(profile.pages, profile.mean_run);
  const std::vector<std::uint64_t> lengths =
      compose(profile.pages, count, random_of(seed, Part::kRuns));
  const std::uint64_t gaps = count - 1;
  // Before the first run, after the last one, and between clusters: at least a page each.
  const std::uint64_t free_pages = usable - profile.pages;
  std::uint64_t small = rounded(profile.small_gap_share * static_cast<double>(gaps));
  std::uint64_t small_pages = rounded(static_cast<double>(small) * profile.small_gap_mean);
  const std::uint64_t large = gaps - small + 2;
  // A guest too full for gaps of that length has shorter ones.
  small_pages =
      std::clamp(small_pages, small, std::max(small, free_pages - std::min(free_pages, large)));
  const std::vector<std::uint64_t> small_gaps =
      compose(small_pages, small, random_of(seed, Part::kSmallGaps));
  // Longer than any of a cluster, unless memory is too full for that.
  const std::uint64_t large_pages = free_pages - small_pages;
  const std::uint64_t least = large_pages / large > 2 * kSmallGapMax ? kSmallGapMax + 1 : 1;
  const std::vector<std::uint64_t> large_gaps =
      compose_heavy(large_pages, large, least, random_of(seed, Part::kLargeGaps));
  std::vector<std::uint8_t> is_small(gaps, 0);
  std::fill_n(is_small.begin(), small, std::uint8_t{1});
  random_of(seed, Part::kPlaces).shuffle(is_small);

  std::vector<Run> runs;
  std::size_t next_small = 0;
  std::size_t next_large = 0;
  std::uint64_t at = large_gaps[next_large++] - 1;  // Memory may begin with a run.
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    runs.push_back({.begin = at, .length = lengths[i]});
    at += lengths[i];
    if (i < gaps) {
      at += is_small[i] != 0 ? small_gaps[next_small++] : large_gaps[next_large++];
    }
  }
  return runs;
}

// Places for new runs: pages that no run has, nor lies beside.
class FreePlaces {
 public:
  FreePlaces(std::uint64_t pages, const std::vector<Run>& runs) : taken_(pages, false) {
    for (const Run& run : runs) {
      take(run);
    }
  }
  void take(const Run& run) {
    std::fill_n(taken_.begin() + static_cast<std::ptrdiff_t>(run.begin), run.length, true);
  }
  // With a free page, or the end of memory, on both sides.
  [[nodiscard]] bool fits(const Run& run) const {
    const std::uint64_t begin = run.begin == 0 ? 0 : run.begin - 1;
    const std::uint64_t end = std::min<std::uint64_t>(taken_.size(), run.begin + run.length + 1);
    return run.begin + run.length <= taken_.size() &&
           std::none_of(taken_.begin() + static_cast<std::ptrdiff_t>(begin),
                        taken_.begin() + static_cast<std::ptrdiff_t>(end),
                        [](bool is_taken) { return is_taken; });
  }
  // The first place at or after `from`, and then from the beginning of memory; runs of one page
  // beside others if there is no other place at all.
  [[nodiscard]] Run find(std::uint64_t from, std::uint64_t length) const {
    for (std::uint64_t i = 0; i < taken_.size(); ++i) {
      const Run run{.begin = (from + i) % taken_.size(), .length = length};
      if (fits(run)) {
        return run;
      }
    }
    const auto found = std::find(taken_.begin(), taken_.end(), false);
    STASIS_CHECK(found != taken_.end());
    return {.begin = static_cast<std::uint64_t>(found - taken_.begin()), .length = 1};
  }

 private:
  std::vector<bool> taken_;
};

// The runs of the second input.
std::vector<Run> drift(const Profile& profile, const std::vector<Run>& runs, std::uint64_t seed) {
  Random random = random_of(seed, Part::kDrift);
  std::vector<Run> kept = runs;
  random.shuffle(kept);
  if (profile.drift == DriftMode::kReplace) {
    std::uint64_t left = profile.unique_pages;
    while (left > 0) {
      Run& last = kept.back();
      const std::uint64_t cut = std::min(left, last.length);
      last.length -= cut;
      left -= cut;
      if (last.length == 0) {
        kept.pop_back();
      }
    }
  }
  FreePlaces places(usable_mib(profile.memory_mib) * kPagesPerMib, runs);
  std::uint64_t left = profile.unique_pages;
  const std::vector<std::uint64_t> lengths =
      left == 0 ? std::vector<std::uint64_t>()
                : compose(left, runs_of(left, profile.mean_run), random_of(seed, Part::kPlaces));
  for (std::size_t i = 0; left > 0; ++i) {
    const std::uint64_t wanted = i < lengths.size() ? std::min(left, lengths[i]) : 1;
    const Run& neighbour = runs[random.below(runs.size())];  // New pages are near old ones.
    const Run run = places.find(neighbour.begin + neighbour.length + 1, wanted);
    places.take(run);
    kept.push_back(run);
    left -= run.length;
  }
  std::sort(kept.begin(), kept.end(), [](const Run& a, const Run& b) { return a.begin < b.begin; });
  return kept;
}

std::vector<Access> in_order(const Profile& profile, std::vector<Run> runs, std::uint64_t seed) {
  Random random = random_of(seed, Part::kOrder);
  if (profile.order == AccessOrder::kShuffledRuns) {
    random.shuffle(runs);
  }
  std::vector<Access> accesses;
  const auto percent = rounded(100 * profile.write_fraction);
  const std::uint64_t write_seed = Random::derive(seed, static_cast<std::uint64_t>(Part::kWrites));
  for (const Run& run : runs) {
    for (std::uint64_t page = run.begin; page < run.begin + run.length; ++page) {
      accesses.push_back(
          {.page = page, .is_write = guest::pagetoucher::is_chosen(page, write_seed, percent)});
    }
  }
  if (profile.order == AccessOrder::kShuffled) {
    random.shuffle(accesses);
  }
  return accesses;
}

}  // namespace

Accesses generate(const Profile& profile, std::uint64_t seed) {
  const std::vector<Run> first = place_runs(profile, seed);
  const std::vector<Run> second = drift(profile, first, seed);
  return {.first = in_order(profile, first, seed),
          .second = in_order(profile, second, Random::derive(seed, 2))};
}

std::vector<std::vector<std::byte>> requests_for(std::span<const Access> accesses) {
  namespace content = guest::pagetoucher;
  constexpr std::size_t kWord = sizeof(std::uint32_t);
  constexpr std::size_t kAccessesMax = abi::kRequestBytesMax / kWord - 1;
  std::vector<std::vector<std::byte>> requests;
  for (std::size_t begin = 0; begin < accesses.size(); begin += kAccessesMax) {
    const std::span<const Access> part =
        accesses.subspan(begin, std::min(kAccessesMax, accesses.size() - begin));
    std::vector<std::byte> request((part.size() + 1) * kWord);
    std::memcpy(request.data(), &content::kBinaryListMagic, kWord);
    for (std::size_t i = 0; i < part.size(); ++i) {
      const std::uint32_t word =
          static_cast<std::uint32_t>(part[i].page) | (part[i].is_write ? content::kWriteBit : 0U);
      std::memcpy(&request[(i + 1) * kWord], &word, kWord);
    }
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace stasis::experiments
