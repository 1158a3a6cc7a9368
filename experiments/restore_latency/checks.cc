#include "experiments/restore_latency/checks.h"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>

#include "experiments/harness/evaluator.h"

namespace stasis::experiments {
namespace {

constexpr double kMiB = 1024.0 * 1024.0;
constexpr double kMs = 1e6;

void check_lazy(Evaluator& evaluator, const Sizes& sizes) {
  const auto first = [](std::uint64_t mib) {
    return Quantity{.cell = lazy_id(mib), .metric = "first_instruction_ns"};
  };
  evaluator.ratio(
      {.name = "lazy_vs_bare_kvm",
       .text = fmt::format("lazy restore of {}, warm: first instruction at most 1.3 x bare KVM",
                           size_name(sizes.middle_mib)),
       .limit = 1.3},
      first(sizes.middle_mib),
      {.cell = bare_kvm_id(sizes.middle_mib), .metric = "first_instruction_ns"});
  evaluator.ratio({.name = "lazy_is_flat",
                   .text = fmt::format("lazy restore, warm: {} at most 1.2 x {}",
                                       size_name(sizes.large_mib), size_name(sizes.small_mib)),
                   .limit = 1.2},
                  first(sizes.large_mib), first(sizes.small_mib));
}

void check_eager(Evaluator& evaluator, const Sizes& sizes) {
  const std::string size = size_name(sizes.small_mib);
  const Quantity pread{.cell = pread_floor_id(sizes), .metric = "pread_ns"};
  for (const std::uint32_t threads : {1U, 2U}) {
    evaluator.ratio(
        {.name = fmt::format("eager_vs_pread_t{}", threads),
         .text = fmt::format("eager restore of {} non-zero, verified, {} thread{}: first "
                             "instruction at most 1.25 x pread",
                             size, threads, threads == 1 ? "" : "s"),
         .limit = 1.25},
        {.cell = eager_id(sizes, threads, true), .metric = "first_instruction_ns"}, pread);
  }
  evaluator.ratio(
      {.name = "lz4_two_threads",
       .text = fmt::format("LZ4 eager restore of {}, two threads: at least 1.6 x as fast as one "
                           "thread of the library alone",
                           size),
       .bound = Bound::kAtLeast,
       .limit = 1.6},
      {.cell = lz4_floor_id(sizes), .metric = "decompress_ns"},
      {.cell = eager_lz4_id(sizes, 2, true), .metric = "first_instruction_ns"});
  evaluator.ratio(
      {.name = "integrity_cost",
       .text = fmt::format("checking XXH3 costs at most 5 % of the eager restore of {}", size),
       .limit = 1.05},
      {.cell = eager_id(sizes, 1, true), .metric = "first_instruction_ns"},
      {.cell = eager_id(sizes, 1, false), .metric = "first_instruction_ns"});
}

void diff_is_linear(Evaluator& evaluator, const Sizes& sizes, Spread spread,
                    std::span<const std::uint32_t> percents) {
  const bool scattered = spread == Spread::kScattered;
  std::vector<std::string> cells;
  cells.reserve(percents.size());
  for (const std::uint32_t percent : percents) {
    cells.push_back(save_diff_id(sizes, percent, spread));
  }
  evaluator.linear(
      {.name = scattered ? "diff_linear_scattered" : "diff_linear",
       .text = fmt::format("differential save of {}, {} dirty pages, {} % to {} %: time is linear "
                           "in dirty bytes, R^2 > 0.95",
                           size_name(sizes.small_mib), scattered ? "scattered" : "clustered",
                           percents.front(), percents.back()),
       .bound = Bound::kAtLeast,
       .limit = 0.95},
      cells, {.metric = "dirty_bytes", .unit = kMiB, .unit_name = "MiB"},
      {.metric = "save_ns", .unit = kMs, .unit_name = "ms"});
}

// What a differential save writes beyond the dirty bytes, as a share of them.
std::optional<Evaluator::Figure> excess(const Row& row) {
  const auto written = row.metrics.find("written_bytes");
  const auto dirty = row.metrics.find("dirty_bytes");
  if (written == row.metrics.end() || dirty == row.metrics.end() || dirty->second <= 0) {
    return std::nullopt;
  }
  return Evaluator::Figure{.value = written->second / dirty->second - 1,
                           .words = fmt::format("{:.0f} KiB written for {:.0f} KiB dirty",
                                                written->second / 1024, dirty->second / 1024)};
}

void check_save(Evaluator& evaluator, const Sizes& sizes) {
  const std::string size = size_name(sizes.middle_mib);
  evaluator.ratio(
      {.name = "save_speed",
       .text = fmt::format("full save of {}, half zero, two threads: at least 70 % of the speed of "
                           "the slower of (zero scan + XXH3) and write",
                           size),
       .bound = Bound::kAtLeast,
       .limit = 0.7},
      {.cell = save_floor_id(sizes), .metric = "slower_ns"},
      {.cell = save_full_id(sizes, 2, false), .metric = "save_ns"});
  evaluator.ratio({.name = "save_speed_durable",
                   .text = fmt::format("the same with fdatasync on both sides, {}", size),
                   .bound = Bound::kAtLeast,
                   .limit = 0.7},
                  {.cell = save_floor_id(sizes), .metric = "slower_sync_ns"},
                  {.cell = save_full_id(sizes, 2, true), .metric = "save_ns"});
  diff_is_linear(evaluator, sizes, Spread::kClustered, kDirtyPercents);
  diff_is_linear(evaluator, sizes, Spread::kScattered, kScatteredPercents);
  evaluator.greatest({.name = "diff_bytes",
                      .text = "a differential save writes at most 2 % more than the dirty bytes",
                      .limit = 0.02},
                     "save/diff", excess);
}

// What decides the answer: size, differential or not, touched set. Full snapshots of one size hold
// the same memory whatever their layout and codec.
std::string same_memory(const Row& row) {
  std::string key;
  if (!row.cell.starts_with("restore/")) {
    return key;
  }
  for (const auto& [name, value] : row.factors) {
    if (name == "memory" || name == "touched") {
      key += value + ", ";
    } else if (name == "snapshot") {
      key += value.starts_with("diff-") ? "differential, " : "full, ";
    }
  }
  return key;
}

}  // namespace

std::vector<CheckOutcome> evaluate_checks(const Plan& plan, const RowTable& table) {
  const Sizes sizes = workload_of(plan).sizes;
  Evaluator evaluator(plan, table);
  check_lazy(evaluator, sizes);
  check_eager(evaluator, sizes);
  check_save(evaluator, sizes);
  evaluator.greatest({.name = "restore_memory",
                      .text = "peak memory of a restore: at most 64 MiB above the guest's",
                      .limit = 64},
                     "restore/", "peak_above_guest_bytes", kMiB);
  evaluator.greatest({.name = "save_memory",
                      .text = "peak memory of a save: at most 64 MiB above the VM's",
                      .limit = 64},
                     "save/", "save_extra_rss_bytes", kMiB);
  evaluator.proofs_agree(
      {.name = "same_answers",
       .text = "every restore of the same memory, asked the same, gives the same "
               "hash, whatever the policy"},
      same_memory);
  return std::move(evaluator).take();
}

}  // namespace stasis::experiments
