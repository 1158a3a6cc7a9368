#include "experiments/policy_matrix/policy_matrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "experiments/harness/cell_builder.h"
#include "experiments/harness/evaluator.h"
#include "experiments/workload/profile.h"
#include "experiments/workload/profile_trials.h"
#include "snapshot/policies/policy_catalog.h"

namespace stasis::experiments {
namespace policy_matrix {

std::string cell_id(const std::string& policy, const std::string& profile, CacheState cache) {
  return fmt::format("invoke/{}/{}/{}", policy, profile, name_of(cache));
}

namespace {

constexpr std::uint64_t kSeed = 1;
constexpr double kCachedTimesMax = 1.1;
constexpr const char* kReap = "reap";  // A policy that papers call so has their range to meet.
constexpr double kReapSpeedupMin = 2;

std::vector<std::string> policies_of(const Design& design) {
  std::vector<std::string> policies = design.selection.policies;
  if (policies.empty()) {
    for (const Availability& policy : snapshot::list_policies(design.capabilities)) {
      if (policy.available) {
        policies.push_back(policy.name);
      }
    }
  }
  return policies;
}

void add_invocation(CellBuilder& builder, const std::string& snapshot, const Profile& profile,
                    const std::string& policy, CacheState cache) {
  TrialRequest trial = profile_request("invoke_profile", profile, kSeed);
  trial.parameters["snapshot"] = kScratchPrefix + snapshot;
  trial.parameters["policy"] = policy;
  Factors factors = {{"policy", policy}, {"cache", std::string(name_of(cache))}};
  for (auto& factor : profile_factors(profile, kSeed)) {
    factors.push_back(std::move(factor));
  }
  PlannedCell& planned = builder.add(profile.memory_mib, cell_id(policy, profile.name, cache),
                                     std::move(factors), "total_ns", std::move(trial));
  planned.cached_directories = {snapshot};
  planned.cache = cache;
  if (policy != kBaseline || cache != CacheState::kWarm) {
    with_floor(planned, cell_id(kBaseline, profile.name, CacheState::kWarm), "total_ns");
  }
}

Result<Experiment> design_cells(const Design& design) {
  if (design.workload.is_toy) {
    return Error{.code = Errc::kNotSupported,
                 .message =
                     "policy_matrix needs a guest that can be told which pages to touch; the "
                     "mock backend has none"};
  }
  std::vector<std::string> names = design.selection.profiles;
  if (names.empty() && design.workload.is_quick) {
    names = {"reap/helloworld", "reap/json_serdes"};
  }
  STASIS_ASSIGN(const std::vector<Profile> profiles, find_profiles(names));
  CellBuilder builder("policy_matrix", design.workload);
  std::vector<std::string> policies = policies_of(design);
  if (std::find(policies.begin(), policies.end(), kBaseline) == policies.end()) {
    policies.insert(policies.begin(), kBaseline);  // What the others are held against.
  }
  for (const Profile& profile : profiles) {
    const std::string snapshot = add_profile_snapshot(builder, profile, kSeed, true);
    for (const std::string& policy : policies) {
      for (const CacheState cache : {CacheState::kCold, CacheState::kWarm}) {
        add_invocation(builder, snapshot, profile, policy, cache);
      }
    }
  }
  return std::move(builder).finish();
}

std::set<std::string> levels(const Plan& plan, const char* factor) {
  std::set<std::string> found;
  for (const Cell& cell : plan.cells) {
    found.insert(level_of(cell.factors, factor));
  }
  return found;
}

Quantity total(const std::string& policy, const std::string& profile, CacheState cache) {
  return {.cell = cell_id(policy, profile, cache), .metric = "total_ns"};
}

constexpr std::array<Figure, 1> kFigures = {
    {{.title = "Time to the answer by the size of the working set",
      .caption = "From asking for the restore to the last answer, page cache cold. Each point is a "
                 "profile.",
      .cell_prefix = "invoke/",
      .x_factor = "pages",
      .x_label = "pages of the working set",
      .series_factor = "policy",
      .metric = "total_ns",
      .x_axis = Axis::kLogarithmic,
      .y_axis = Axis::kLogarithmic,
      .where_factor = "cache",
      .where_level = "cold"}}};

}  // namespace

std::vector<CheckOutcome> check(const Plan& plan, const RowTable& table) {
  Evaluator evaluator(plan, table);
  const std::set<std::string> profiles = levels(plan, "profile");
  for (const std::string& policy : levels(plan, "policy")) {
    std::vector<std::pair<Quantity, Quantity>> speedups;
    std::vector<std::pair<Quantity, Quantity>> cached;
    for (const std::string& profile : profiles) {
      speedups.emplace_back(total(kBaseline, profile, CacheState::kCold),
                            total(policy, profile, CacheState::kCold));
      cached.emplace_back(total(kBaseline, profile, CacheState::kWarm),
                          total(policy, profile, CacheState::kCold));
    }
    if (policy != kBaseline) {
      const double limit = policy == kReap ? kReapSpeedupMin : 1;
      evaluator.mean_ratio(
          {.name = "speedup/" + policy,
           .text = fmt::format("{}, cold: at least {} x as fast as lazy, cold, in the "
                               "geometric mean of the profiles",
                               policy, limit),
           .bound = Bound::kAtLeast,
           .limit = limit},
          speedups);
    }
    evaluator.mean_ratio(
        {.name = "cached/" + policy,
         .text = fmt::format("lazy from a warm cache takes at most {} x as long as {} "
                             "from a cold one",
                             kCachedTimesMax, policy),
         .limit = kCachedTimesMax},
        cached);
  }
  evaluator.proofs_agree(
      {.name = "same_answers",
       .text = "every restore of one profile gives the same hashes, whatever the "
               "policy"},
      [](const Row& row) { return level_of(row.factors, "profile"); });
  return std::move(evaluator).take();
}

}  // namespace policy_matrix

const Definition& policy_matrix_definition() {
  static constexpr Definition kDefinition = {
      .name = "policy_matrix",
      .question = "Under which restore policy does which function answer first?",
      .takes = "about 25 min for REAP's ten profiles, 2 GiB of disk; --quick 1 min, 400 MiB",
      .takes_policies = true,
      .takes_profiles = true,
      .design = policy_matrix::design_cells,
      .check = policy_matrix::check,
      .figures = policy_matrix::kFigures};
  return kDefinition;
}

}  // namespace stasis::experiments
