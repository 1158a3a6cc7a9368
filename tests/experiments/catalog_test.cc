// The experiments by name, what may be chosen of each, and that their cells fit together.
#include "experiments/catalog.h"

#include <functional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/harness/cell_filter.h"
#include "experiments/trials/trial_kinds.h"
#include "experiments/workload/profile_trials.h"

namespace stasis::experiments {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// A host on which everything works, whatever the one that runs the test can do.
Capabilities capable() {
  Capabilities capabilities;
  capabilities.kind = BackendKind::kKvm;
  capabilities.dirty_page_tracking = true;
  capabilities.manual_dirty_log = {"dirty-log-manual", true, "", ""};
  capabilities.dirty_ring = {"dirty-ring", true, "", ""};
  capabilities.dirty_ring_entries_max = 65536;
  return capabilities;
}

const Definition& named(std::string_view name) {
  auto found = find_experiment(name);
  EXPECT_TRUE(found) << name;
  return **found;
}

TEST(Catalog, AMistypedNameNamesTheOneThatWasMeant) {
  auto found = find_experiment("ful_vs_diff");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Errc::kNotFound);
  EXPECT_THAT(found.error().message,
              AllOf(HasSubstr("did you mean 'full_vs_diff'?"), HasSubstr("restore_latency")));
  EXPECT_THAT(find_experiment("xyzzy").error().message, Not(HasSubstr("did you mean")));
}

TEST(Catalog, ASelectionOfNamesThatExistIsTaken) {
  const Selection wanted{.policies = {"lazy"}, .trackers = {"compare", "dirty-log"}};
  auto settled = settle_selection(named("full_vs_diff"), wanted, capable());
  ASSERT_TRUE(settled) << settled.error().to_string();
  EXPECT_EQ(settled->trackers, wanted.trackers);
  EXPECT_EQ(settled->policies, wanted.policies);
}

TEST(Catalog, ASelectionThatCannotBeIsRefusedWithItsCure) {
  const auto refusal = [](std::string_view experiment, const Selection& wanted,
                          Capabilities capabilities = capable()) {
    auto settled = settle_selection(named(experiment), wanted, capabilities);
    return settled ? std::string("taken") : settled.error().message;
  };
  EXPECT_THAT(refusal("full_vs_diff", {.policies = {"lasy"}}),
              AllOf(HasSubstr("did you mean 'lazy'?"), HasSubstr("eager")));
  EXPECT_THAT(refusal("full_vs_diff", {.trackers = {"compare", "compare"}}), HasSubstr("twice"));
  EXPECT_THAT(refusal("dirty_tracking", {.policies = {"lazy"}}), HasSubstr("leave --policies out"));
  EXPECT_THAT(refusal("floor", {.trackers = {"compare"}}), HasSubstr("leave --trackers out"));
  Capabilities without = capable();
  without.dirty_page_tracking = false;
  EXPECT_THAT(refusal("dirty_tracking", {.trackers = {"dirty-log"}}, without),
              HasSubstr("does not work here"));
}

class EveryExperiment : public testing::TestWithParam<std::string> {
 protected:
  static const Definition& definition() { return named(GetParam()); }

  // On every kind of host and scale on which it can be designed.
  static void each(const std::function<void(const Experiment&)>& use) {
    for (const char* backend : {"kvm", "mock"}) {
      for (const Workload& workload : {full_workload(backend), quick_workload(backend)}) {
        Design design{.workload = workload, .capabilities = {}, .selection = {}};
        if (std::string_view(backend) == "kvm") {
          design.capabilities = capable();
        }
        if (auto experiment = definition().design(design)) {
          SCOPED_TRACE(std::string(backend) + (workload.is_quick ? ", quick" : ", full"));
          use(*experiment);
        } else {
          EXPECT_EQ(experiment.error().code, Errc::kNotSupported);
          EXPECT_STREQ(backend, "mock") << experiment.error().message;
        }
      }
    }
  }
};

TEST_P(EveryExperiment, HasCellsWithUniqueIdsFactorsAndHeadlines) {
  each([](const Experiment& experiment) {
    std::set<std::string> ids;
    EXPECT_EQ(experiment.name, definition().name);
    for (const PlannedCell& planned : experiment.cells) {
      EXPECT_TRUE(ids.insert(planned.cell.id).second) << planned.cell.id;
      EXPECT_FALSE(planned.cell.headline.empty()) << planned.cell.id;
      EXPECT_FALSE(planned.cell.factors.empty()) << planned.cell.id;
      EXPECT_EQ(planned.cache.has_value(), !planned.cached_directories.empty());
    }
    EXPECT_FALSE(ids.empty());
    for (const PlannedCell& planned : experiment.cells) {
      EXPECT_TRUE(planned.cell.floor_cell.empty() || ids.contains(planned.cell.floor_cell))
          << planned.cell.id << " names the floor " << planned.cell.floor_cell;
    }
  });
}

TEST_P(EveryExperiment, UsesOnlyWhatIsMadeBefore) {
  each([](const Experiment& experiment) {
    std::set<std::string> made;
    const auto check = [&](const TrialRequest& request, const std::string& who) {
      const std::string snapshot = request.text("snapshot");
      EXPECT_TRUE(snapshot.empty() || made.contains(snapshot.substr(2))) << who << snapshot;
      const std::string path = request.text("path");
      EXPECT_TRUE(path.empty() || made.contains(path.substr(2, path.rfind('/') - 2))) << who;
    };
    for (const Preparation& preparation : experiment.preparations) {
      check(preparation.trial, preparation.what);
      made.insert(preparation.product);
    }
    for (const PlannedCell& planned : experiment.cells) {
      check(planned.trial, planned.cell.id);
      for (const std::string& directory : planned.cached_directories) {
        EXPECT_TRUE(made.contains(directory)) << planned.cell.id << ": " << directory;
      }
    }
  });
}

// As a whole and as any of its cells alone, which `floor_cell` may join.
TEST_P(EveryExperiment, CanBeMeasuredCellByCell) {
  each([](const Experiment& experiment) {
    for (const PlannedCell& planned : experiment.cells) {
      const std::string& id = planned.cell.id;
      const auto part = only_cells(experiment, std::span(&id, 1));
      ASSERT_TRUE(part) << part.error().to_string();
      std::set<std::string> ids;
      std::set<std::string> made;
      for (const Preparation& preparation : part->preparations) {
        made.insert(preparation.product);
      }
      for (const PlannedCell& kept : part->cells) {
        ids.insert(kept.cell.id);
        for (const std::string& directory : kept.cached_directories) {
          EXPECT_TRUE(made.contains(directory)) << kept.cell.id << ": " << directory;
        }
      }
      EXPECT_TRUE(ids.contains(id));
      EXPECT_TRUE(planned.cell.floor_cell.empty() || ids.contains(planned.cell.floor_cell)) << id;
      EXPECT_LE(part->preparations.size(), experiment.preparations.size());
    }
  });
}

TEST_P(EveryExperiment, HasATrialForEachOfItsCells) {
  std::set<std::string_view> kinds;
  for (const std::span<const TrialKind> group :
       {floor_trials(), guest_trials(), profile_trials(), definition().trials}) {
    for (const TrialKind& kind : group) {
      EXPECT_TRUE(kinds.insert(kind.name).second) << kind.name;
    }
  }
  each([&](const Experiment& experiment) {
    for (const PlannedCell& planned : experiment.cells) {
      EXPECT_TRUE(kinds.contains(planned.trial.kind)) << planned.trial.kind;
    }
    for (const Preparation& preparation : experiment.preparations) {
      EXPECT_TRUE(kinds.contains(preparation.trial.kind)) << preparation.trial.kind;
    }
  });
}

TEST_P(EveryExperiment, EstimatesMoreTimeForMoreTrials) {
  each([](const Experiment& experiment) {
    const auto few = make_schedule(experiment.cells.size(), 5, 1, 1);
    const auto many = make_schedule(experiment.cells.size(), 30, 3, 1);
    EXPECT_GT(estimate_ns(experiment, few), 0);
    EXPECT_GT(estimate_ns(experiment, many), 2 * estimate_ns(experiment, few));
  });
}

// A check must not invent a verdict: without rows there is none.
TEST_P(EveryExperiment, JudgesNothingWithoutRows) {
  each([](const Experiment& experiment) {
    Plan plan;
    plan.experiment = experiment.name;
    plan.scale = "full";
    plan.backend = "kvm";
    for (const PlannedCell& planned : experiment.cells) {
      plan.cells.push_back(planned.cell);
    }
    for (const CheckOutcome& outcome : check_rows(plan, RowTable(plan, {}))) {
      EXPECT_EQ(outcome.verdict, CheckOutcome::Verdict::kNotApplicable) << outcome.name;
      EXPECT_FALSE(outcome.figures.empty()) << outcome.name;
      EXPECT_FALSE(outcome.requirement.empty()) << outcome.name;
    }
  });
}

TEST_P(EveryExperiment, DrawsFiguresOfMetricsAndFactorsThatItsCellsHave) {
  for (const Figure& figure : definition().figures) {
    std::size_t points = 0;
    each([&](const Experiment& experiment) {
      for (const PlannedCell& planned : experiment.cells) {
        const auto has = [&](std::string_view name) {
          for (const auto& [factor, level] : planned.cell.factors) {
            if (factor == name) {
              return true;
            }
          }
          return false;
        };
        points += planned.cell.id.starts_with(figure.cell_prefix) && has(figure.x_factor) &&
                          has(figure.series_factor)
                      ? 1U
                      : 0U;
      }
    });
    EXPECT_GE(points, 3U) << figure.title;
  }
}

std::vector<std::string> every_name() {
  std::vector<std::string> names;
  for (const Definition* definition : all_experiments()) {
    names.emplace_back(definition->name);
  }
  return names;
}
INSTANTIATE_TEST_SUITE_P(All, EveryExperiment, testing::ValuesIn(every_name()),
                         [](const auto& param) { return param.param; });

}  // namespace
}  // namespace stasis::experiments
