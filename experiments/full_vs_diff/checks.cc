// The acceptance inequalities of full_vs_diff.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>
#include <set>

#include "experiments/full_vs_diff/full_vs_diff.h"
#include "experiments/harness/evaluator.h"
#include "experiments/stats/bootstrap.h"
#include "experiments/stats/descriptive.h"

namespace stasis::experiments::full_vs_diff {
namespace {

constexpr double kMiB = 1024.0 * 1024.0;
constexpr double kMs = 1e6;
// Below this, the manifest and the page tables of chunks are a large part of a small file.
constexpr double kBytesMin = kMiB;
constexpr double kCrossoverPercentMin = 25;

std::uint32_t number_of(const Cell& cell, const std::string& factor) {
  const std::string level = level_of(cell.factors, factor);
  std::uint32_t value = 0;
  std::from_chars(level.data(), level.data() + level.size(), value);
  return value;
}

// The shares of dirty pages that were planned, by tracker.
std::map<std::string, std::set<std::uint32_t>> shares_of(const Plan& plan) {
  std::map<std::string, std::set<std::uint32_t>> shares;
  for (const Cell& cell : plan.cells) {
    if (const std::string tracker = level_of(cell.factors, "tracker"); !tracker.empty()) {
      shares[tracker].insert(number_of(cell, "dirty"));
    }
  }
  return shares;
}

std::set<std::uint32_t> depths_of(const Plan& plan, const std::string& policy) {
  std::set<std::uint32_t> depths;
  for (const Cell& cell : plan.cells) {
    if (!level_of(cell.factors, "depth").empty() && level_of(cell.factors, "policy") == policy) {
      depths.insert(number_of(cell, "depth"));
    }
  }
  return depths;
}

void check_linear(Evaluator& evaluator, const std::string& tracker,
                  const std::set<std::uint32_t>& percents) {
  std::vector<std::string> cells;
  cells.reserve(percents.size());
  for (const std::uint32_t percent : percents) {
    cells.push_back(diff_id(tracker, percent));
  }
  evaluator.linear(
      {.name = "linear/" + tracker,
       .text = fmt::format("{}: the time of a differential save is linear in its dirty "
                           "bytes, R^2 > 0.95",
                           tracker),
       .bound = Bound::kAtLeast,
       .limit = 0.95},
      cells, {.metric = "dirty_bytes", .unit = kMiB, .unit_name = "MiB"},
      {.metric = "save_ns", .unit = kMs, .unit_name = "ms"});
}

// Up to which share of dirty pages a differential save is faster than a full one.
void check_crossover(Evaluator& evaluator, const std::string& tracker,
                     const std::set<std::uint32_t>& percents) {
  const Requirement wanted{
      .name = "crossover/" + tracker,
      .text =
          fmt::format("{}: a differential save is faster than a full one up to a share of dirty "
                      "pages of at least {:.0f} %",
                      tracker, kCrossoverPercentMin),
      .bound = Bound::kAtLeast,
      .limit = kCrossoverPercentMin};
  double below = 0;
  double ratio_below = 0;
  for (const std::uint32_t percent : percents) {
    const auto [diff, full] =
        evaluator.table().pairs(diff_id(tracker, percent), "save_ns", full_id(), "save_ns");
    if (diff.empty()) {
      continue;
    }
    const double ratio =
        bootstrap_median_ratio(diff, full, {.seed = evaluator.plan().seed}).estimate;
    if (ratio >= 1) {
      const double share =
          below == 0 ? 0 : below + (percent - below) * (1 - ratio_below) / (ratio - ratio_below);
      return evaluator.value(wanted, {.estimate = share, .low = share, .high = share},
                             fmt::format("{:.2f} x a full save at {} %, {:.2f} x at {:.0f} %",
                                         ratio, percent, ratio_below, below));
    }
    below = percent;
    ratio_below = ratio;
  }
  if (below == 0) {
    return evaluator.not_applicable(wanted, "no block has both a differential and a full save");
  }
  evaluator.value(wanted, {.estimate = below, .low = below, .high = below},
                  fmt::format("no crossover: {:.2f} x a full save at {:.0f} %, the largest share",
                              ratio_below, below));
}

// Exact trackers that saw the same writes found the same pages.
void check_agreement(Evaluator& evaluator) {
  const Requirement wanted{.name = "trackers_agree",
                           .text = "exact trackers find the same dirty bytes, within 1 %",
                           .limit = 0.01};
  std::map<std::string, std::pair<double, double>> extremes;
  for (const Row& row : evaluator.table().rows()) {
    const auto bytes = row.metrics.find("dirty_bytes");
    if (level_of(row.factors, "exact") == "yes" && bytes != row.metrics.end()) {
      auto& [least, most] = extremes
                                .try_emplace(level_of(row.factors, "dirty"),
                                             std::numeric_limits<double>::infinity(), 0.0)
                                .first->second;
      least = std::min(least, bytes->second);
      most = std::max(most, bytes->second);
    }
  }
  if (extremes.empty()) {
    return evaluator.not_applicable(wanted, "no exact tracker was measured");
  }
  double worst = 0;
  std::string figures = "all the same";
  for (const auto& [share, bounds] : extremes) {
    if (const double spread = bounds.second / bounds.first - 1; spread > worst) {
      worst = spread;
      figures = fmt::format("{:.0f} to {:.0f} KiB at {}", bounds.first / 1024, bounds.second / 1024,
                            share);
    }
  }
  evaluator.value(wanted, {.estimate = worst, .low = worst, .high = worst}, figures);
}

void check_bytes(Evaluator& evaluator) {
  evaluator.greatest(
      {.name = "bytes",
       .text = "a differential save of at least 1 MiB writes at most 2 % more than the dirty bytes",
       .limit = 0.02},
      "save/diff/", [](const Row& row) -> std::optional<Evaluator::Figure> {
        const auto written = row.metrics.find("written_bytes");
        const auto dirty = row.metrics.find("dirty_bytes");
        if (written == row.metrics.end() || dirty == row.metrics.end() ||
            dirty->second < kBytesMin) {
          return std::nullopt;
        }
        return Evaluator::Figure{
            .value = written->second / dirty->second - 1,
            .words = fmt::format("{:.0f} KiB written for {:.0f} KiB dirty", written->second / 1024,
                                 dirty->second / 1024)};
      });
}

void check_chains(Evaluator& evaluator, const std::string& policy) {
  const auto response = [&](std::uint32_t depth) {
    return Quantity{.cell = chain_id(policy, depth), .metric = "first_response_ns"};
  };
  const std::set<std::uint32_t> depths = depths_of(evaluator.plan(), policy);
  if (depths.size() < 3) {
    return;
  }
  const std::uint32_t deepest = *depths.rbegin();
  const std::uint32_t before = *std::next(depths.rbegin());
  evaluator.ratio(
      {.name = "chain_small/" + policy,
       .text = fmt::format("{}: a restore through {} layers of {} % takes at most 1.3 x "
                           "one of the full snapshot",
                           policy, std::min(deepest, 4U), kLayerPercent),
       .limit = 1.3},
      response(std::min(deepest, 4U)), response(0));
  const double limit = static_cast<double>(deepest) / before;
  evaluator.ratio({.name = "chain_growth/" + policy,
                   .text = fmt::format("{}: from {} to {} layers the restore grows at most in "
                                       "proportion",
                                       policy, before, deepest),
                   .limit = limit},
                  response(deepest), response(before));
}

}  // namespace

std::vector<CheckOutcome> check(const Plan& plan, const RowTable& table) {
  Evaluator evaluator(plan, table);
  for (const auto& [tracker, percents] : shares_of(plan)) {
    if (percents.size() >= 3) {
      check_linear(evaluator, tracker, percents);
      check_crossover(evaluator, tracker, percents);
    }
  }
  check_bytes(evaluator);
  check_agreement(evaluator);
  std::set<std::string> policies;
  for (const Cell& cell : plan.cells) {
    if (!level_of(cell.factors, "depth").empty()) {
      policies.insert(level_of(cell.factors, "policy"));
    }
  }
  for (const std::string& policy : policies) {
    check_chains(evaluator, policy);
  }
  evaluator.proofs_agree(
      {.name = "same_answers",
       .text = "restores of the same snapshot, asked the same, give the same hash, "
               "whatever the policy"},
      [](const Row& row) {
        return row.cell.starts_with("restore/") ? level_of(row.factors, "snapshot") : std::string();
      });
  return std::move(evaluator).take();
}

}  // namespace stasis::experiments::full_vs_diff
