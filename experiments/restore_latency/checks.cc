#include "experiments/restore_latency/checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "experiments/stats/bootstrap.h"
#include "experiments/stats/descriptive.h"
#include "experiments/stats/regression.h"

namespace stasis::experiments {
namespace {

constexpr double kMiB = 1024.0 * 1024.0;

using Verdict = CheckOutcome::Verdict;

enum class Bound : std::uint8_t { kAtMost, kAtLeast };

// A metric of a cell.
struct Quantity {
  std::string cell, metric;
};

std::string milliseconds(double ns) {
  return fmt::format("{:.3f} ms", ns * 1e-6);
}

class Evaluator {
 public:
  Evaluator(const Plan& plan, const RowTable& table) : plan_(plan), table_(table) {}

  // The paired ratio of two quantities, each the median of their blocks.
  void ratio(std::string name, std::string requirement, const Quantity& above,
             const Quantity& below, Bound bound, double limit) {
    CheckOutcome check{.name = std::move(name),
                       .requirement = std::move(requirement),
                       .limit = limit,
                       .figures = {}};
    const auto [numerators, denominators] =
        table_.pairs(above.cell, above.metric, below.cell, below.metric);
    if (numerators.empty()) {
      check.figures = missing(above, below);
    } else {
      const Interval interval =
          bootstrap_median_ratio(numerators, denominators, {.seed = plan_.seed});
      settle(check, interval, bound);
      check.within_noise =
          numerators.size() < 2 || (interval.low <= limit && limit <= interval.high);
      check.figures =
          fmt::format("{} {} / {} {}, {} pairs", above.cell, milliseconds(median(numerators)),
                      below.cell, milliseconds(median(denominators)), numerators.size());
    }
    checks_.push_back(std::move(check));
  }

  // The greatest value of `metric` over all cells whose id begins with `prefix`.
  void greatest(std::string name, std::string requirement, const std::string& prefix,
                const std::string& metric, double unit, double limit) {
    CheckOutcome check{.name = std::move(name),
                       .requirement = std::move(requirement),
                       .limit = limit,
                       .figures = "no cell has measured it"};
    std::optional<double> worst;
    for (const Cell& cell : plan_.cells) {
      if (!cell.id.starts_with(prefix)) {
        continue;
      }
      for (const double value : table_.values(cell.id, metric)) {
        if (!worst || value / unit > *worst) {
          worst = value / unit;
          check.figures = fmt::format("greatest in {}", cell.id);
        }
      }
    }
    if (worst) {
      settle(check, {.estimate = *worst, .low = *worst, .high = *worst}, Bound::kAtMost);
    }
    checks_.push_back(std::move(check));
  }

  void diff_is_linear(const Sizes& sizes, Spread spread, std::span<const std::uint32_t> percents) {
    const bool scattered = spread == Spread::kScattered;
    CheckOutcome check{.name = scattered ? "diff_linear_scattered" : "diff_linear",
                       .requirement = fmt::format(
                           "differential save of {}, {} dirty pages, {} % to {} %: time is "
                           "linear in dirty bytes, R^2 > 0.95",
                           size_name(sizes.small_mib), scattered ? "scattered" : "clustered",
                           percents.front(), percents.back()),
                       .limit = 0.95,
                       .figures = {}};
    std::vector<double> dirty;
    std::vector<double> ns;
    for (const std::uint32_t percent : percents) {
      const std::string id = save_diff_id(sizes, percent, spread);
      const std::vector<double> bytes = table_.values(id, "dirty_bytes");
      const std::vector<double> times = table_.values(id, "save_ns");
      if (!bytes.empty() && !times.empty()) {
        dirty.push_back(median(bytes));
        ns.push_back(median(times));
      }
    }
    if (dirty.size() < 3 || dirty.front() == dirty.back()) {
      check.figures = "fewer than three shares of dirty pages were measured";
    } else {
      const LinearFit fit = linear_fit(dirty, ns);
      settle(check, {.estimate = fit.r_squared, .low = fit.r_squared, .high = fit.r_squared},
             Bound::kAtLeast);
      check.figures = fmt::format("{} + {:.3f} ms/MiB over {} medians", milliseconds(fit.intercept),
                                  fit.slope * kMiB * 1e-6, dirty.size());
    }
    checks_.push_back(std::move(check));
  }

  // written / dirty - 1, the greatest of all differential saves.
  void diff_is_small() {
    CheckOutcome check{.name = "diff_bytes",
                       .requirement =
                           "a differential save writes at most 2 % more than the dirty "
                           "bytes",
                       .limit = 0.02,
                       .figures = "no differential save was measured"};
    std::optional<double> worst;
    for (const Cell& cell : plan_.cells) {
      if (!cell.id.starts_with("save/diff")) {
        continue;
      }
      const auto [written, dirty] = table_.pairs(cell.id, "written_bytes", cell.id, "dirty_bytes");
      for (std::size_t i = 0; i < written.size(); ++i) {
        const double excess = written[i] / dirty[i] - 1;
        if (!worst || excess > *worst) {
          worst = excess;
          check.figures = fmt::format("greatest in {}: {:.0f} KiB written for {:.0f} KiB dirty",
                                      cell.id, written[i] / 1024, dirty[i] / 1024);
        }
      }
    }
    if (worst) {
      settle(check, {.estimate = *worst, .low = *worst, .high = *worst}, Bound::kAtMost);
    }
    checks_.push_back(std::move(check));
  }

  // Restores of one memory that were asked the same must have answered the same.
  void answers_agree() {
    CheckOutcome check{.name = "same_answers",
                       .requirement =
                           "every restore of the same memory, asked the same, gives the "
                           "same hash, whatever the policy",
                       .figures = "no restore has answered"};
    std::map<std::string, std::set<std::string>> answers;
    std::size_t rows = 0;
    for (const Row& row : table_.rows()) {
      if (row.cell.starts_with("restore/") && !row.proof.empty()) {
        answers[same_memory(row.factors)].insert(row.proof);
        ++rows;
      }
    }
    if (rows > 0) {
      const auto disagree =
          static_cast<double>(std::count_if(answers.begin(), answers.end(), [](const auto& group) {
            return group.second.size() > 1;
          }));
      settle(check, {.estimate = disagree, .low = disagree, .high = disagree}, Bound::kAtMost);
      check.figures = fmt::format("{} answers in {} groups, {} groups disagree", rows,
                                  answers.size(), disagree);
    }
    checks_.push_back(std::move(check));
  }

  std::vector<CheckOutcome> take() && { return std::move(checks_); }

 private:
  // What decides the answer: size, differential or not, touched set. Full snapshots of one size
  // hold the same memory whatever their layout and codec.
  static std::string same_memory(const Factors& factors) {
    std::string key;
    for (const auto& [name, value] : factors) {
      if (name == "memory" || name == "touched") {
        key += value + ", ";
      } else if (name == "snapshot") {
        key += value.starts_with("diff-") ? "differential, " : "full, ";
      }
    }
    return key;
  }

  static void settle(CheckOutcome& check, const Interval& interval, Bound bound) {
    check.value = interval.estimate;
    check.low = interval.low;
    check.high = interval.high;
    const bool passes =
        bound == Bound::kAtMost ? check.value <= check.limit : check.value >= check.limit;
    check.verdict = passes ? Verdict::kPass : Verdict::kFail;
  }

  [[nodiscard]] std::string missing(const Quantity& above, const Quantity& below) const {
    for (const Quantity* quantity : {&above, &below}) {
      if (table_.values(quantity->cell, quantity->metric).empty()) {
        return fmt::format("{} of {} was not measured", quantity->metric, quantity->cell);
      }
    }
    return fmt::format("no block has both {} and {}", above.cell, below.cell);
  }

  const Plan& plan_;
  const RowTable& table_;
  std::vector<CheckOutcome> checks_;
};

void check_lazy(Evaluator& evaluator, const Sizes& sizes) {
  const auto first = [](std::uint64_t mib) {
    return Quantity{.cell = lazy_id(mib), .metric = "first_instruction_ns"};
  };
  evaluator.ratio("lazy_vs_bare_kvm",
                  fmt::format("lazy restore of {}, warm: first instruction at most 1.3 x bare KVM",
                              size_name(sizes.middle_mib)),
                  first(sizes.middle_mib),
                  {.cell = bare_kvm_id(sizes.middle_mib), .metric = "first_instruction_ns"},
                  Bound::kAtMost, 1.3);
  evaluator.ratio("lazy_is_flat",
                  fmt::format("lazy restore, warm: {} at most 1.2 x {}", size_name(sizes.large_mib),
                              size_name(sizes.small_mib)),
                  first(sizes.large_mib), first(sizes.small_mib), Bound::kAtMost, 1.2);
}

void check_eager(Evaluator& evaluator, const Sizes& sizes) {
  const std::string size = size_name(sizes.small_mib);
  const Quantity pread{.cell = pread_floor_id(sizes), .metric = "pread_ns"};
  for (const std::uint32_t threads : {1U, 2U}) {
    evaluator.ratio(
        fmt::format("eager_vs_pread_t{}", threads),
        fmt::format("eager restore of {} non-zero, verified, {} thread{}: first instruction at "
                    "most 1.25 x pread",
                    size, threads, threads == 1 ? "" : "s"),
        {.cell = eager_id(sizes, threads, true), .metric = "first_instruction_ns"}, pread,
        Bound::kAtMost, 1.25);
  }
  evaluator.ratio("lz4_two_threads",
                  fmt::format("LZ4 eager restore of {}, two threads: at least 1.6 x as fast as one "
                              "thread of the library alone",
                              size),
                  {.cell = lz4_floor_id(sizes), .metric = "decompress_ns"},
                  {.cell = eager_lz4_id(sizes, 2, true), .metric = "first_instruction_ns"},
                  Bound::kAtLeast, 1.6);
  evaluator.ratio("integrity_cost",
                  fmt::format("checking XXH3 costs at most 5 % of the eager restore of {}", size),
                  {.cell = eager_id(sizes, 1, true), .metric = "first_instruction_ns"},
                  {.cell = eager_id(sizes, 1, false), .metric = "first_instruction_ns"},
                  Bound::kAtMost, 1.05);
}

void check_save(Evaluator& evaluator, const Sizes& sizes) {
  const std::string size = size_name(sizes.middle_mib);
  evaluator.ratio("save_speed",
                  fmt::format("full save of {}, half zero, two threads: at least 70 % of the speed "
                              "of the slower of (zero scan + XXH3) and write",
                              size),
                  {.cell = save_floor_id(sizes), .metric = "slower_ns"},
                  {.cell = save_full_id(sizes, 2, false), .metric = "save_ns"}, Bound::kAtLeast,
                  0.7);
  evaluator.ratio(
      "save_speed_durable", fmt::format("the same with fdatasync on both sides, {}", size),
      {.cell = save_floor_id(sizes), .metric = "slower_sync_ns"},
      {.cell = save_full_id(sizes, 2, true), .metric = "save_ns"}, Bound::kAtLeast, 0.7);
  evaluator.diff_is_linear(sizes, Spread::kClustered, kDirtyPercents);
  evaluator.diff_is_linear(sizes, Spread::kScattered, kScatteredPercents);
  evaluator.diff_is_small();
}

}  // namespace

std::vector<CheckOutcome> evaluate_checks(const Plan& plan, const RowTable& table) {
  if (plan.experiment != "restore_latency") {
    return {};
  }
  const Sizes sizes = workload_of(plan).sizes;
  Evaluator evaluator(plan, table);
  check_lazy(evaluator, sizes);
  check_eager(evaluator, sizes);
  check_save(evaluator, sizes);
  evaluator.greatest("restore_memory", "peak memory of a restore: at most 64 MiB above the guest's",
                     "restore/", "peak_above_guest_bytes", kMiB, 64);
  evaluator.greatest("save_memory", "peak memory of a save: at most 64 MiB above the VM's", "save/",
                     "save_extra_rss_bytes", kMiB, 64);
  evaluator.answers_agree();
  return std::move(evaluator).take();
}

}  // namespace stasis::experiments
