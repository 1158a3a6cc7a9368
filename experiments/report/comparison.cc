#include "experiments/report/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "experiments/report/format.h"
#include "experiments/stats/descriptive.h"
#include "experiments/stats/effect.h"

namespace stasis::experiments {
namespace {

using Verdict = CellComparison::Verdict;

Error different(const std::string& what, const std::string& before, const std::string& after) {
  return Error{.code = Errc::kInvalidArgument,
               .message = fmt::format("the runs cannot be compared: their {}s are '{}' and '{}'",
                                      what, before, after)};
}

Result<void> check_alike(const Plan& before, const Plan& after) {
  if (before.experiment != after.experiment) {
    return different("experiment", before.experiment, after.experiment);
  }
  if (before.backend != after.backend) {
    return different("backend", before.backend, after.backend);
  }
  if (before.scale != after.scale) {
    return different("scale", before.scale, after.scale);
  }
  return {};
}

// Facts that only one run has, or that differ.
std::vector<std::string> differences_of(const HostFacts& before, const HostFacts& after) {
  const std::map<std::string, std::string> other(after.begin(), after.end());
  std::vector<std::string> lines;
  for (const auto& [name, value] : before) {
    const auto found = other.find(name);
    if (found == other.end()) {
      lines.push_back(fmt::format("{}: {}, not said", name, value));
    } else if (found->second != value) {
      lines.push_back(fmt::format("{}: {}, {}", name, value, found->second));
    }
  }
  return lines;
}

std::vector<std::string> warnings_of(const LoadedRun& run, const RowTable& table) {
  std::vector<std::string> warnings;
  const auto warn = [&](const std::string& text) {
    warnings.push_back(fmt::format("{}: {}", run.directory, text));
  };
  if (table.tainted() > 0) {
    warn(fmt::format("{} of {} trials met a busy host", table.tainted(), table.rows().size()));
  }
  if (table.failed() > 0) {
    warn(fmt::format("{} trials failed", table.failed()));
  }
  if (std::any_of(run.rows.begin(), run.rows.end(), [](const Row& row) { return !row.quotable; })) {
    warn("its build, backend or scale must not be quoted");
  }
  return warnings;
}

Verdict judge(const Interval& ratio, std::size_t trials, double threshold) {
  if (trials < 2) {
    return Verdict::kUndecided;  // Its interval has no width and says nothing.
  }
  if (ratio.low > 1 + threshold) {
    return Verdict::kWorse;
  }
  if (ratio.high < 1 - threshold) {
    return Verdict::kBetter;
  }
  return ratio.low >= 1 - threshold && ratio.high <= 1 + threshold ? Verdict::kSame
                                                                   : Verdict::kUndecided;
}

CellComparison compare_cell(const Cell& cell, const RowTable& before, const RowTable& after,
                            std::uint64_t seed, const CompareOptions& options) {
  CellComparison compared{.cell = cell.id, .metric = cell.headline};
  std::vector<double> was = before.values(cell.id, cell.headline);
  std::vector<double> is = after.values(cell.id, cell.headline);
  if (options.paired) {
    std::tie(was, is) = pairs_of(before, after, cell.id, cell.headline);
  }
  compared.before_trials = was.size();
  compared.after_trials = is.size();
  if (was.empty() || is.empty() || *std::min_element(was.begin(), was.end()) <= 0) {
    return compared;
  }
  compared.before = median(was);
  compared.after = median(is);
  compared.ratio = options.paired ? bootstrap_median_ratio(is, was, {.seed = seed})
                                  : bootstrap_ratio_of_medians(is, was, {.seed = seed});
  compared.cliffs_delta = cliffs_delta(was, is);
  compared.minimum_detectable_effect = minimum_detectable_effect(was, is);
  compared.verdict = judge(compared.ratio, std::min(was.size(), is.size()), options.threshold);
  return compared;
}

std::string signed_percent(double ratio) {
  return fmt::format("{:+.1f} %", 100 * (ratio - 1));
}

}  // namespace

std::string_view name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kWorse:
      return "WORSE";
    case Verdict::kBetter:
      return "better";
    case Verdict::kSame:
      return "same";
    case Verdict::kUndecided:
      return "undecided";
    case Verdict::kMissing:
      return "missing";
  }
  return "unknown verdict";
}

Result<Comparison> compare(const LoadedRun& before, const LoadedRun& after,
                           const CompareOptions& options) {
  if (!(options.threshold >= 0) || options.threshold >= 1) {
    return Error{
        .code = Errc::kInvalidArgument,
        .message = fmt::format("a threshold of {} is not from 0 to below 1", options.threshold)};
  }
  STASIS_TRY(check_alike(before.plan, after.plan));
  const RowTable was = before.table();
  const RowTable is = after.table();
  Comparison comparison{.experiment = before.plan.experiment,
                        .before = before.directory,
                        .after = after.directory,
                        .options = options,
                        .differences = differences_of(before.host, after.host),
                        .warnings = warnings_of(before, was),
                        .cells = {},
                        .summary = {}};
  for (std::string& warning : warnings_of(after, is)) {
    comparison.warnings.push_back(std::move(warning));
  }
  std::vector<double> ratios;
  for (const Cell& cell : before.plan.cells) {
    comparison.cells.push_back(compare_cell(cell, was, is, before.plan.seed, options));
    const CellComparison& compared = comparison.cells.back();
    comparison.worse += compared.verdict == Verdict::kWorse ? 1U : 0U;
    comparison.better += compared.verdict == Verdict::kBetter ? 1U : 0U;
    comparison.undecided += compared.verdict == Verdict::kUndecided ? 1U : 0U;
    if (compared.verdict != Verdict::kMissing && compared.ratio.estimate > 0) {
      ratios.push_back(compared.ratio.estimate);
    }
  }
  for (const Cell& cell : after.plan.cells) {
    if (std::none_of(before.plan.cells.begin(), before.plan.cells.end(),
                     [&](const Cell& other) { return other.id == cell.id; })) {
      comparison.cells.push_back({.cell = cell.id,
                                  .metric = cell.headline,
                                  .after_trials = is.values(cell.id, cell.headline).size()});
    }
  }
  if (!ratios.empty()) {
    comparison.mean_ratio = geometric_mean(ratios);
  }
  comparison.summary = render_text(comparison);
  return comparison;
}

Result<Comparison> compare(const std::string& before, const std::string& after,
                           const CompareOptions& options) {
  STASIS_ASSIGN(const LoadedRun was, load_run(before));
  STASIS_ASSIGN(const LoadedRun is, load_run(after));
  return compare(was, is, options);
}

std::string render_text(const Comparison& comparison) {
  std::string text = fmt::format("{}: {} against {}\n", comparison.experiment, comparison.after,
                                 comparison.before);
  for (const std::string& line : comparison.differences) {
    text += fmt::format("  differs  {}\n", line);
  }
  for (const std::string& line : comparison.warnings) {
    text += fmt::format("  beware   {}\n", line);
  }
  std::size_t width = 4;
  for (const CellComparison& cell : comparison.cells) {
    width = std::max(width, cell.cell.size());
  }
  text += fmt::format("\n  {:<{}}  {:>9}  {:>9}  {:>8}  {:>19}  {:>6}  {:>7}  verdict\n", "cell",
                      width, "before", "after", "change", "95 % interval", "delta", "detects");
  for (const CellComparison& cell : comparison.cells) {
    if (cell.verdict == Verdict::kMissing) {
      text += fmt::format("  {:<{}}  {} and {} trials: missing\n", cell.cell, width,
                          cell.before_trials, cell.after_trials);
      continue;
    }
    text += fmt::format(
        "  {:<{}}  {:>9}  {:>9}  {:>8}  {:>19}  {:>6.2f}  {:>7}  {}\n", cell.cell, width,
        format_value(cell.metric, cell.before), format_value(cell.metric, cell.after),
        signed_percent(cell.ratio.estimate),
        signed_percent(cell.ratio.low) + ", " + signed_percent(cell.ratio.high), cell.cliffs_delta,
        fmt::format("{:.1f} %", 100 * cell.minimum_detectable_effect), name_of(cell.verdict));
  }
  text += fmt::format("\n{} worse and {} better by more than {:.3g} %, {} undecided, of {} cells",
                      comparison.worse, comparison.better, 100 * comparison.options.threshold,
                      comparison.undecided, comparison.cells.size());
  if (comparison.mean_ratio) {
    text += fmt::format("; geometric mean {}", signed_percent(*comparison.mean_ratio));
  }
  return text + "\n";
}

}  // namespace stasis::experiments
