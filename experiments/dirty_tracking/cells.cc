#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "experiments/dirty_tracking/dirty_tracking.h"
#include "experiments/floor/raw_trackers.h"
#include "experiments/harness/cell_builder.h"
#include "snapshot/trackers/tracker_catalog.h"

namespace stasis::experiments {
namespace dirty_tracking {

std::string tracked_id(const std::string& tracker, std::uint64_t mib, std::uint64_t pages) {
  return fmt::format("track/{}/{}/pages{}", tracker, size_name(mib), pages);
}
std::string raw_id(const std::string& mechanism, std::uint64_t mib, std::uint64_t pages) {
  return fmt::format("raw/{}/{}/pages{}", mechanism, size_name(mib), pages);
}

namespace {

constexpr std::uint64_t kToyPages = 9;  // What the mock's guest writes to.

// Guests of one size with so many dirty pages.
struct Level {
  std::uint64_t mib = 0;
  std::vector<std::uint64_t> pages;
};

std::vector<Level> levels_of(const Workload& workload) {
  if (workload.is_toy) {
    return {{.mib = workload.sizes.small_mib, .pages = {kToyPages}}};
  }
  if (workload.is_quick) {
    return {{.mib = 80, .pages = {1, 64, 1024, 16384}}, {.mib = 320, .pages = {1}}};
  }
  return {{.mib = 272, .pages = {1, 16, 256, 4096, 16384, 65536}},
          {.mib = 1088, .pages = {1, 4096}}};
}

// Single pages at equal distances, as far apart as memory allows.
std::uint64_t stride_of(std::uint64_t mib, std::uint64_t pages) {
  return std::max<std::uint64_t>(1, usable_mib(mib) * kPagesPerMib / pages);
}

Factors factors_of(const char* kind, const std::string& tracker, std::uint64_t mib,
                   std::uint64_t pages) {
  return {{"kind", kind},
          {"tracker", tracker},
          {"memory", size_name(mib)},
          {"pages", std::to_string(pages)}};
}

void add_tracked(CellBuilder& builder, const TrackerTraits& tracker, std::uint64_t mib,
                 std::uint64_t pages) {
  const bool is_toy = builder.workload().is_toy;
  Factors factors = factors_of("guest", tracker.name, mib, pages);
  factors.emplace_back("exact", tracker.exact ? "yes" : "no");
  TrialRequest trial{.kind = "track"};
  trial.parameters = {
      {"guest", is_toy ? "toy:counter" : "pagetoucher"},
      {"cycles", is_toy ? "no" : "yes"},
      {"memory_bytes", bytes_of(mib)},
      {"tracker", tracker.name},
      {"pages", std::to_string(pages)},
      {"warm",
       is_toy ? "next" : fmt::format("touch count={} write=1", usable_mib(mib) * kPagesPerMib)},
      {"request", is_toy ? "next"
                         : fmt::format("touch count={} stride={} order=random seed=9 write=1",
                                       pages, stride_of(mib, pages))}};
  PlannedCell& planned = builder.add(2 * mib, tracked_id(tracker.name, mib, pages),
                                     std::move(factors), "epoch_ns", std::move(trial));
  if (builder.workload().has_bare_kvm_floor) {
    const std::string mechanism = tracker.name == kUntracked
                                      ? std::string(kUntracked)
                                      : std::string(mechanism_of(tracker.name));
    if (!mechanism.empty()) {
      with_floor(planned, raw_id(mechanism, mib, pages), "epoch_ns");
    }
  }
}

void add_raw(CellBuilder& builder, const std::string& mechanism, std::uint64_t mib,
             std::uint64_t pages) {
  builder.add(2 * mib, raw_id(mechanism, mib, pages), factors_of("raw", mechanism, mib, pages),
              "epoch_ns",
              {.kind = "raw_track",
               .parameters = {{"memory_bytes", bytes_of(mib)},
                              {"mechanism", mechanism},
                              {"pages", std::to_string(pages)},
                              {"stride", std::to_string(stride_of(mib, pages))}}});
}

std::vector<TrackerTraits> trackers_of(const Design& design) {
  std::vector<TrackerTraits> trackers = {{.name = kUntracked}};
  const std::vector<std::string>& wanted = design.selection.trackers;
  for (const Availability& tracker : snapshot::list_trackers(design.capabilities)) {
    if (tracker.available &&
        (wanted.empty() || std::find(wanted.begin(), wanted.end(), tracker.name) != wanted.end())) {
      trackers.push_back(snapshot::promised_traits(tracker.name, design.capabilities));
      trackers.back().name = tracker.name;
    }
  }
  if (wanted.empty()) {  // It is held against all of them.
    trackers.push_back({.name = std::string(snapshot::kAutoTracker)});
  }
  return trackers;
}

Result<Experiment> design_cells(const Design& design) {
  CellBuilder builder("dirty_tracking", design.workload);
  const std::vector<TrackerTraits> trackers = trackers_of(design);
  for (const Level& level : levels_of(design.workload)) {
    for (const std::uint64_t pages : level.pages) {
      std::set<std::string> mechanisms;
      for (const TrackerTraits& tracker : trackers) {
        add_tracked(builder, tracker, level.mib, pages);
        mechanisms.insert(tracker.name == kUntracked ? std::string(kUntracked)
                                                     : std::string(mechanism_of(tracker.name)));
      }
      mechanisms.erase(std::string());
      if (design.workload.has_bare_kvm_floor) {
        for (const std::string& mechanism : mechanisms) {
          add_raw(builder, mechanism, level.mib, pages);
        }
      }
    }
  }
  return std::move(builder).finish();
}

// OoH (SC'22), Table IVb over the pages of Table I: one write to each page of an array.
constexpr std::array<PaperPoint, 4> kPaperFirstWrites = {
    {{"userfaultfd, OoH (SC'22)", 2560, 27e6 / 2560},
     {"userfaultfd, OoH (SC'22)", 12800, 152e6 / 12800},
     {"userfaultfd, OoH (SC'22)", 25600, 347e6 / 25600},
     {"userfaultfd, OoH (SC'22)", 64000, 883e6 / 64000}}};

constexpr std::array<Figure, 4> kFigures = {
    {{.title = "First write to a page",
      .caption = "What the first write to each page costs the guest beyond the write itself. The "
                 "paper's points are of another processor under Xen, with the tracked process "
                 "natively in its guest.",
      .cell_prefix = "track/",
      .x_factor = "pages",
      .x_label = "pages written",
      .series_factor = "tracker",
      .metric = "first_write_ns",
      .x_axis = Axis::kLogarithmic,
      .y_axis = Axis::kLogarithmic,
      .paper = kPaperFirstWrites},
     {.title = "Collecting, and arming again",
      .caption = "The guest stands still as long.",
      .cell_prefix = "track/",
      .x_factor = "pages",
      .x_label = "pages written",
      .series_factor = "tracker",
      .metric = "recollect_ns",
      .x_axis = Axis::kLogarithmic,
      .y_axis = Axis::kLogarithmic},
     {.title = "An epoch of a guest",
      .caption = "The writes and the collection.",
      .cell_prefix = "track/",
      .x_factor = "pages",
      .x_label = "pages written",
      .series_factor = "tracker",
      .metric = "epoch_ns",
      .x_axis = Axis::kLogarithmic,
      .y_axis = Axis::kLogarithmic},
     {.title = "An epoch of the mechanism alone",
      .caption =
          "Bare KVM, and nothing around the kernel's requests: the floor of the figure above.",
      .cell_prefix = "raw/",
      .x_factor = "pages",
      .x_label = "pages written",
      .series_factor = "tracker",
      .metric = "epoch_ns",
      .x_axis = Axis::kLogarithmic,
      .y_axis = Axis::kLogarithmic}}};

}  // namespace
}  // namespace dirty_tracking

const Definition& dirty_tracking_definition() {
  static const Definition definition = {
      .name = "dirty_tracking",
      .question =
          "What does each dirty tracker cost: to arm, at the first write to each page, and to "
          "collect, in multiples of the mechanism behind it?",
      .takes = "about 60 min; --quick 3 min",
      .takes_trackers = true,
      .design = dirty_tracking::design_cells,
      .check = dirty_tracking::check,
      .trials = dirty_tracking::trials(),
      .figures = dirty_tracking::kFigures};
  return definition;
}

}  // namespace stasis::experiments
