#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "experiments/full_vs_diff/full_vs_diff.h"
#include "experiments/harness/cell_builder.h"
#include "snapshot/trackers/tracker_catalog.h"
#include "snapshot/trackers/tracker_choice.h"

namespace stasis::experiments {
namespace full_vs_diff {

std::string full_id() {
  return "save/full";
}
std::string diff_id(const std::string& tracker, std::uint32_t percent) {
  return fmt::format("save/diff/{}/dirty{}", tracker, percent);
}
std::string chain_id(const std::string& policy, std::uint32_t depth) {
  return fmt::format("restore/{}/depth{}", policy, depth);
}

namespace {

using Percents = std::vector<std::uint32_t>;

struct Levels {
  Percents percents;       // Of the tracker that "auto" is.
  Percents some_percents;  // Of every other one.
  std::vector<std::uint32_t> depths;
};

Levels levels_of(const Workload& workload) {
  if (workload.is_toy) {  // It has but one dirty set.
    return {.percents = {1}, .some_percents = {1}, .depths = {0, 1, 2}};
  }
  if (workload.is_quick) {
    return {
        .percents = {1, 5, 10, 25, 50, 100}, .some_percents = {1, 10, 50}, .depths = {0, 1, 2, 4}};
  }
  return {.percents = {1, 2, 5, 10, 25, 50, 75, 100},
          .some_percents = {1, 10, 50},
          .depths = {0, 1, 2, 4, 8, 16}};
}

std::string base_name(const Workload& workload) {
  return "full-" + size_name(workload.sizes.small_mib);
}
std::string layer_name(std::uint32_t depth) {
  return fmt::format("layer-{}", depth);
}

// What layer `depth` of a chain changes: a run of pages of its own.
std::string layer_request(const Workload& workload, std::uint32_t depth) {
  if (workload.is_toy) {
    return "next";
  }
  const std::uint64_t count =
      usable_mib(workload.sizes.small_mib) * kPagesPerMib * kLayerPercent / 100;
  return fmt::format("touch begin={} count={} order=random seed=9 write=1", (depth - 1) * count,
                     count);
}

void add_full(CellBuilder& builder) {
  const std::uint64_t mib = builder.workload().sizes.small_mib;
  builder.add(2 * mib, full_id(), {{"kind", "save"}, {"save", "full"}, {"memory", size_name(mib)}},
              "save_ns",
              {.kind = "save_full",
               .parameters = {{"snapshot", "@/" + base_name(builder.workload())},
                              {"out", "@/saved"},
                              {"threads", "1"},
                              {"sync", "off"}}});
}

void add_diff(CellBuilder& builder, const TrackerTraits& tracker, std::uint32_t percent) {
  const std::uint64_t mib = builder.workload().sizes.small_mib;
  PlannedCell& planned =
      builder.add(2 * mib, diff_id(tracker.name, percent),
                  {{"kind", "save"},
                   {"save", "diff"},
                   {"memory", size_name(mib)},
                   {"tracker", tracker.name},
                   {"exact", tracker.exact ? "yes" : "no"},
                   {"dirty", fmt::format("{} %", percent)}},
                  "save_ns",
                  {.kind = "save_diff",
                   .parameters = {{"snapshot", "@/" + base_name(builder.workload())},
                                  {"tracker", tracker.name},
                                  {"request", builder.dirty(mib, percent, Spread::kScattered)},
                                  {"out", "@/saved"},
                                  {"threads", "1"},
                                  {"sync", "off"}}});
  with_floor(planned, full_id(), "save_ns");
}

void add_chain(CellBuilder& builder, const std::string& policy, std::uint32_t depth) {
  const Workload& workload = builder.workload();
  CellBuilder::Restore wanted{.id = chain_id(policy, depth),
                              .snapshot = depth == 0 ? base_name(workload) : layer_name(depth),
                              .policy = policy,
                              .mib = workload.sizes.small_mib,
                              .percent = 10,
                              .headline = "first_response_ns"};
  if (depth > 0) {
    wanted.parents.push_back(base_name(workload));
  }
  for (std::uint32_t layer = 1; layer < depth; ++layer) {
    wanted.parents.push_back(layer_name(layer));
  }
  builder.restore(wanted).cell.factors.emplace_back("depth", std::to_string(depth));
}

// The trackers that are asked for, or all that work here.
std::vector<TrackerTraits> trackers_of(const Design& design) {
  std::vector<TrackerTraits> trackers;
  for (const Availability& tracker : snapshot::list_trackers(design.capabilities)) {
    const auto& wanted = design.selection.trackers;
    if (tracker.available &&
        (wanted.empty() || std::find(wanted.begin(), wanted.end(), tracker.name) != wanted.end())) {
      trackers.push_back(snapshot::promised_traits(tracker.name, design.capabilities));
      trackers.back().name = tracker.name;
    }
  }
  return trackers;
}

// What "auto" takes for a guest of 1 GiB of which 1 % is written, by the built-in costs: the cells
// are to be the same on every host of a kind.
std::string main_tracker(const Capabilities& capabilities) {
  constexpr std::uint64_t kPages = (std::uint64_t{1} << 30U) / 4096;
  return snapshot::rank_trackers(snapshot::list_trackers(capabilities), snapshot::builtin_costs(),
                                 {.memory_pages = kPages,
                                  .resident_pages = kPages,
                                  .dirty_pages = kPages / 100,
                                  .backend_protects = capabilities.write_protection})
      .best_first.front()
      .name;
}

Result<Experiment> design_cells(const Design& design) {
  CellBuilder builder("full_vs_diff", design.workload);
  const std::uint64_t mib = design.workload.sizes.small_mib;
  const Levels levels = levels_of(design.workload);
  builder.full_snapshot(base_name(design.workload), mib, usable_mib(mib), "", "mappable", "none");
  for (std::uint32_t depth = 1; depth <= levels.depths.back(); ++depth) {
    builder.diff_snapshot(layer_name(depth),
                          depth == 1 ? base_name(design.workload) : layer_name(depth - 1),
                          layer_request(design.workload, depth));
  }
  add_full(builder);
  const std::vector<TrackerTraits> trackers = trackers_of(design);
  const std::string best = main_tracker(design.capabilities);
  for (const TrackerTraits& tracker : trackers) {
    const bool is_main = tracker.name == best || trackers.size() == 1;
    for (const std::uint32_t percent : is_main ? levels.percents : levels.some_percents) {
      add_diff(builder, tracker, percent);
    }
  }
  const std::vector<std::string> policies = design.selection.policies.empty()
                                                ? std::vector<std::string>{"eager", "lazy"}
                                                : design.selection.policies;
  for (const std::string& policy : policies) {
    for (const std::uint32_t depth : levels.depths) {
      add_chain(builder, policy, depth);
    }
  }
  return std::move(builder).finish();
}

constexpr std::array<Figure, 3> kFigures = {
    {{.title = "Time of a differential save",
      .caption = "Dirty pages lie scattered over all memory. The full save is the cell save/full.",
      .cell_prefix = "save/diff/",
      .x_factor = "dirty",
      .x_label = "dirty pages, % of the guest's",
      .series_factor = "tracker",
      .metric = "save_ns"},
     {.title = "Bytes of a differential save",
      .caption = "All files of the snapshot. Trackers that are not exact write more than is dirty.",
      .cell_prefix = "save/diff/",
      .x_factor = "dirty",
      .x_label = "dirty pages, % of the guest's",
      .series_factor = "tracker",
      .metric = "written_bytes"},
     {.title = "Restore of a chain",
      .caption = "To the first response of a request that touches a tenth of memory. Depth 0 is a "
                 "full snapshot; every further layer changes 2 % of the pages.",
      .cell_prefix = "restore/",
      .x_factor = "depth",
      .x_label = "differential snapshots above the full one",
      .series_factor = "policy",
      .metric = "first_response_ns"}}};

}  // namespace
}  // namespace full_vs_diff

const Definition& full_vs_diff_definition() {
  static constexpr Definition kDefinition = {
      .name = "full_vs_diff",
      .question =
          "What does a differential snapshot save of time and bytes against a full one, and "
          "what does a chain of them cost at the restore?",
      .takes = "about 25 min, 1.5 GiB of disk; --quick 2 min, 300 MiB",
      .takes_policies = true,
      .takes_trackers = true,
      .design = full_vs_diff::design_cells,
      .check = full_vs_diff::check,
      .figures = full_vs_diff::kFigures};
  return kDefinition;
}

}  // namespace stasis::experiments
