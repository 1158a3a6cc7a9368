#include "experiments/ws_characterize/ws_characterize.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "experiments/harness/cell_builder.h"
#include "experiments/harness/evaluator.h"
#include "experiments/report/figures.h"
#include "experiments/stats/descriptive.h"
#include "experiments/workload/profile.h"
#include "experiments/workload/profile_trials.h"

namespace stasis::experiments {
namespace ws_characterize {

std::string cell_id(const std::string& profile) {
  return "characterize/" + profile;
}

namespace {

constexpr std::uint64_t kSeed = 1;
constexpr double kToleranceMax = 0.05;
// Of fewer pages one is more than the tolerance.
constexpr double kPagesMin = 20;

// A figure that was asked for: the factor that says how much, and the metric that says what came.
struct Parameter {
  const char* factor;
  const char* metric;
  const char* words;
};
constexpr std::array<Parameter, 5> kParameters = {
    {{"pages", "working_set_pages", "pages of the working set"},
     {"mean_run", "mean_run_pages", "pages of a run"},
     {"unique", "unique_pages", "pages that only the second input touches"},
     {"zero", "zero_share", "share of zero pages"},
     {"compression", "compression_times", "LZ4 ratio of the others"}}};

Result<Experiment> design_cells(const Design& design) {
  if (design.workload.is_toy) {
    return Error{.code = Errc::kNotSupported,
                 .message =
                     "ws_characterize needs a guest that can be told which pages to touch; "
                     "the mock backend has none"};
  }
  std::vector<std::string> names = design.selection.profiles;
  if (names.empty() && design.workload.is_quick) {
    names = {"reap/helloworld", "reap/json_serdes", "reap/lr_serving"};
  }
  STASIS_ASSIGN(const std::vector<Profile> profiles, find_profiles(names));
  CellBuilder builder("ws_characterize", design.workload);
  for (const Profile& profile : profiles) {
    const std::string snapshot = add_profile_snapshot(builder, profile, kSeed, false);
    TrialRequest trial = profile_request("characterize", profile, kSeed);
    trial.parameters["snapshot"] = kScratchPrefix + snapshot;
    trial.parameters["out"] = "@/saved";
    builder.add(3 * profile.memory_mib, cell_id(profile.name), profile_factors(profile, kSeed),
                "working_set_pages", std::move(trial));
  }
  return std::move(builder).finish();
}

void check_parameter(Evaluator& evaluator, const Cell& cell, const Parameter& parameter) {
  const std::string profile = level_of(cell.factors, "profile");
  const Requirement wanted{.name = fmt::format("{}/{}", parameter.metric, profile),
                           .text = fmt::format("{}: {} within {:.0f} % of what was asked for",
                                               profile, parameter.words, 100 * kToleranceMax),
                           .limit = kToleranceMax};
  const std::vector<double> values = evaluator.table().values(cell.id, parameter.metric);
  const double asked = leading_number(level_of(cell.factors, parameter.factor)).value_or(0);
  if (values.empty()) {
    return evaluator.not_applicable(
        wanted, fmt::format("{} of {} was not measured", parameter.metric, cell.id));
  }
  const double got = median(values);
  const bool is_few = std::string_view(parameter.metric).ends_with("_pages") &&
                      std::string_view(parameter.factor) == "unique" && asked < kPagesMin;
  // A few pages must be exact; a share is of all pages.
  const bool is_share = std::string_view(parameter.metric).ends_with("_share");
  const double error =
      is_few || is_share ? std::abs(got - asked) : std::abs(got - asked) / std::max(asked, 1e-9);
  evaluator.value(wanted, {.estimate = error, .low = error, .high = error},
                  fmt::format("{:.4g} measured, {:.4g} asked for", got, asked));
}

// What REAP reports of its ten functions (figures 3 to 5).
void check_published_shape(Evaluator& evaluator) {
  const auto is_reap = [](const Row& row) {
    return level_of(row.factors, "profile").starts_with("reap/");
  };
  const auto metric = [](const Row& row, const char* name) {
    const auto found = row.metrics.find(name);
    return found == row.metrics.end() ? 0.0 : found->second;
  };
  evaluator.greatest(
      {.name = "reap_runs",
       .text = "REAP's functions: runs of 1.5 to 5 pages on average (the distance from "
               "that range is 0)"},
      "characterize/", [&](const Row& row) -> std::optional<Evaluator::Figure> {
        const double run = metric(row, "mean_run_pages");
        if (!is_reap(row) || run == 0) {
          return std::nullopt;
        }
        return Evaluator::Figure{.value = std::max({0.0, 1.5 - run, run - 5}),
                                 .words = fmt::format("{:.2f}", run)};
      });
  evaluator.greatest(
      {.name = "reap_same",
       .text = "REAP's functions: at most 24 % of the second input's pages are not the "
               "first's",
       .limit = 0.24},
      "characterize/", [&](const Row& row) -> std::optional<Evaluator::Figure> {
        const double same = metric(row, "same_pages");
        const double unique = metric(row, "unique_pages");
        if (!is_reap(row) || same + unique == 0) {
          return std::nullopt;
        }
        return Evaluator::Figure{.value = unique / (same + unique),
                                 .words = fmt::format("{:.0f} of {:.0f}", unique, same + unique)};
      });
}

}  // namespace

std::vector<CheckOutcome> check(const Plan& plan, const RowTable& table) {
  Evaluator evaluator(plan, table);
  for (const Cell& cell : plan.cells) {
    for (const Parameter& parameter : kParameters) {
      check_parameter(evaluator, cell, parameter);
    }
  }
  check_published_shape(evaluator);
  return std::move(evaluator).take();
}

}  // namespace ws_characterize

const Definition& ws_characterize_definition() {
  static constexpr Definition kDefinition = {
      .name = "ws_characterize",
      .question = "Do the profiles' guests touch and hold what their papers say, measured?",
      .takes = "about 10 min, 2 GiB of disk; --quick 30 s, 500 MiB",
      .takes_profiles = true,
      .design = ws_characterize::design_cells,
      .check = ws_characterize::check};
  return kDefinition;
}

}  // namespace stasis::experiments
