#include "experiments/harness/cell_filter.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace stasis::experiments {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

PlannedCell cell(const std::string& id, const std::string& snapshot, const std::string& floor) {
  PlannedCell planned;
  planned.cell.id = id;
  planned.cell.floor_cell = floor;
  if (!snapshot.empty()) {
    planned.trial.parameters["snapshot"] = kScratchPrefix + snapshot;
    planned.cached_directories = {snapshot};
  }
  return planned;
}

Preparation preparation(const std::string& product, const std::string& parent) {
  Preparation made{.what = product, .product = product, .trial = {}};
  if (!parent.empty()) {
    made.trial.parameters["snapshot"] = kScratchPrefix + parent;
  }
  return made;
}

Experiment sample() {
  return {.name = "sample",
          .preparations = {preparation("full", ""), preparation("diff", "full"),
                           preparation("other", ""), preparation("diff/record", "diff")},
          .cells = {cell("floor/pread", "", ""), cell("restore/full", "full", "floor/pread"),
                    cell("restore/diff", "diff", "floor/pread"), cell("save/other", "other", "")}};
}

std::vector<std::string> ids(const Experiment& experiment) {
  std::vector<std::string> names;
  for (const PlannedCell& planned : experiment.cells) {
    names.push_back(planned.cell.id);
  }
  return names;
}

std::vector<std::string> products(const Experiment& experiment) {
  std::vector<std::string> names;
  for (const Preparation& made : experiment.preparations) {
    names.push_back(made.product);
  }
  return names;
}

TEST(CellFilter, KeepsTheFloorAndWhatIsNeededInItsOrder) {
  const std::vector<std::string> wanted = {"restore/diff"};
  const auto part = only_cells(sample(), wanted);
  ASSERT_TRUE(part);
  EXPECT_THAT(ids(*part), ElementsAre("floor/pread", "restore/diff"));
  EXPECT_THAT(products(*part), ElementsAre("full", "diff", "diff/record"));
}

TEST(CellFilter, KeepsWhatEachOfSeveralPartsNames) {
  const std::vector<std::string> wanted = {"save", "/full"};
  const auto part = only_cells(sample(), wanted);
  ASSERT_TRUE(part);
  EXPECT_THAT(ids(*part), ElementsAre("floor/pread", "restore/full", "save/other"));
  EXPECT_THAT(products(*part), ElementsAre("full", "other"));
}

TEST(CellFilter, KeepsAllWhenNothingIsAskedFor) {
  const auto part = only_cells(sample(), {});
  ASSERT_TRUE(part);
  EXPECT_EQ(ids(*part), ids(sample()));
  EXPECT_EQ(products(*part), products(sample()));
}

TEST(CellFilter, APartThatIsInNoNameIsRefusedWithNamesThatWouldDo) {
  const std::vector<std::string> wanted = {"restore", "eagre"};
  const auto part = only_cells(sample(), wanted);
  ASSERT_FALSE(part);
  EXPECT_EQ(part.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(part.error().message, HasSubstr("'eagre'"));
  EXPECT_THAT(part.error().message, HasSubstr("floor/pread"));
}

}  // namespace
}  // namespace stasis::experiments
