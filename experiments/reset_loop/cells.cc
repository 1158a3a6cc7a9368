#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "experiments/harness/cell_builder.h"
#include "experiments/reset_loop/reset_loop.h"
#include "snapshot/trackers/tracker_catalog.h"

namespace stasis::experiments {
namespace reset_loop {

std::string reset_id(const std::string& tracker, std::uint64_t mib, std::uint64_t pages) {
  return fmt::format("reset/{}/{}/pages{}", tracker, size_name(mib), pages);
}

namespace {

constexpr std::uint64_t kToyPages = 9;  // What the mock's guest writes to.
// So that a trial takes about a second.
constexpr std::uint64_t kResetsMost = 100, kResetsFewest = 8, kPagesOfATrial = 200'000;

// Guests of one size with so many pages written for each request.
struct Level {
  std::uint64_t mib = 0;
  std::vector<std::uint64_t> pages;
};

std::vector<Level> levels_of(const Workload& workload) {
  if (workload.is_toy) {
    return {{.mib = workload.sizes.small_mib, .pages = {kToyPages}}};
  }
  if (workload.is_quick) {
    return {{.mib = 80, .pages = {1, 64, 1024, 16384}}};
  }
  return {{.mib = 272, .pages = {1, 16, 256, 4096, 16384, 65536}},
          {.mib = 1088, .pages = {1, 4096}}};
}

std::string snapshot_name(std::uint64_t mib) {
  return "warm-" + size_name(mib);
}

void add_reset(CellBuilder& builder, const std::string& tracker, std::uint64_t mib,
               std::uint64_t pages) {
  const bool is_toy = builder.workload().is_toy;
  // Single pages at equal distances, as far apart as memory allows.
  const std::uint64_t stride = std::max<std::uint64_t>(1, usable_mib(mib) * kPagesPerMib / pages);
  const std::uint64_t resets =
      is_toy ? kResetsFewest : std::clamp(kPagesOfATrial / pages, kResetsFewest, kResetsMost);
  TrialRequest trial{.kind = "reset_loop"};
  trial.parameters = {
      {"snapshot", kScratchPrefix + snapshot_name(mib)},
      {"policy", "eager"},
      {"tracker", tracker},
      {"resets", std::to_string(resets)},
      {"request", is_toy ? "next"
                         : fmt::format("touch count={} stride={} order=random seed=9 write=1",
                                       pages, stride)}};
  PlannedCell& planned = builder.add(
      4 * mib, reset_id(tracker, mib, pages),
      {{"tracker", tracker}, {"memory", size_name(mib)}, {"pages", std::to_string(pages)}},
      "reset_ns", std::move(trial));
  planned.cached_directories = {snapshot_name(mib)};
  planned.cache = CacheState::kWarm;
}

// Those that were asked for; else all but those that report most of memory, whatever was written.
std::vector<std::string> trackers_of(const Design& design) {
  std::vector<std::string> trackers;
  const std::vector<std::string>& wanted = design.selection.trackers;
  for (const Availability& tracker : snapshot::list_trackers(design.capabilities)) {
    const bool guesses = tracker.name == "zero-scan" || tracker.name == "residency";
    const bool is_wanted =
        wanted.empty() ? !guesses
                       : std::find(wanted.begin(), wanted.end(), tracker.name) != wanted.end();
    if (tracker.available && is_wanted) {
      trackers.push_back(tracker.name);
    }
  }
  return trackers;
}

Result<Experiment> design_cells(const Design& design) {
  CellBuilder builder("reset_loop", design.workload);
  const std::vector<std::string> trackers = trackers_of(design);
  for (const Level& level : levels_of(design.workload)) {
    builder.full_snapshot(snapshot_name(level.mib), level.mib, usable_mib(level.mib), "",
                          "mappable", "none");
    for (const std::uint64_t pages : level.pages) {
      for (const std::string& tracker : trackers) {
        add_reset(builder, tracker, level.mib, pages);
      }
    }
  }
  return std::move(builder).finish();
}

constexpr std::array<Figure, 2> kFigures = {
    {{.title = "A reset",
      .caption = "Pausing, loading the state of vCPUs and devices, collecting, and copying back.",
      .cell_prefix = "reset/",
      .x_factor = "pages",
      .x_label = "pages written",
      .series_factor = "tracker",
      .metric = "reset_ns",
      .x_axis = Axis::kLogarithmic,
      .y_axis = Axis::kLogarithmic},
     {.title = "Its floor",
      .caption = "The tracker's collection alone, and a memcpy of the same pages.",
      .cell_prefix = "reset/",
      .x_factor = "pages",
      .x_label = "pages written",
      .series_factor = "tracker",
      .metric = "floor_ns",
      .x_axis = Axis::kLogarithmic,
      .y_axis = Axis::kLogarithmic}}};

}  // namespace
}  // namespace reset_loop

const Definition& reset_loop_definition() {
  static const Definition definition = {
      .name = "reset_loop",
      .question =
          "What does it cost to reset a guest in place after each request, in multiples of "
          "collecting what it wrote and copying as many pages?",
      .takes = "about 60 min; --quick 3 min",
      .takes_trackers = true,
      .design = reset_loop::design_cells,
      .check = reset_loop::check,
      .trials = reset_loop::trials(),
      .figures = reset_loop::kFigures};
  return definition;
}

}  // namespace stasis::experiments
