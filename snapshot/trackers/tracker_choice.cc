#include "snapshot/trackers/tracker_choice.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iomanip>
#include <sstream>
#include <string_view>
#include <utility>

#include "snapshot/trackers/tracker_models.h"

namespace stasis::snapshot {
namespace {

constexpr std::string_view kAlwaysThere = "compare-hash";
// Reading, checking and installing a page at a time: a guess, not a measurement, of the order of
// magnitude of a page fault that is answered here. It only has to be far from nothing.
constexpr double kBringInPageNs = 2000;

// Costs that differ by less are the same: no figures are better than that.
constexpr double kSameTimes = 1.05;

double count(std::uint64_t pages) {
  return static_cast<double>(pages);
}

double pages_of(CostBasis basis, const TrackerWorkload& workload) {
  // What was missing is there once all of it has been brought in.
  return count(basis == CostBasis::kMemory ? workload.memory_pages : workload.resident_pages);
}

bool watches_mapping(const TrackerModel& model, const TrackerWorkload& workload) {
  return model.means == TrackerMeans::kHostMapping ||
         (model.means == TrackerMeans::kProtection && !workload.backend_protects);
}

double side_cost(const TrackerModel& model, const CostTable& costs,
                 const TrackerWorkload& workload) {
  const bool watches = watches_mapping(model, workload);
  double side_ns = 0;
  if (watches || model.means == TrackerMeans::kContents) {
    side_ns += count(workload.missing_pages) * kBringInPageNs;
  }
  // The kernel lets one userfaultfd watch a mapping, so a live capture beside this one forks.
  const CostModel* const fork = costs.find("fork");
  if (workload.is_live && watches && fork != nullptr) {
    side_ns += fork->arm_ns + count(workload.resident_pages) * fork->arm_page_ns +
               count(workload.dirty_pages) * fork->first_write_ns;
  }
  return side_ns;
}

// "7.86 ms"
std::string duration(double ns) {
  constexpr std::array<std::pair<double, std::string_view>, 4> kUnits{
      {{1e9, " s"}, {1e6, " ms"}, {1e3, " us"}, {1, " ns"}}};
  const auto* unit = std::find_if(kUnits.begin(), kUnits.end(),
                                  [ns](const auto& candidate) { return ns >= candidate.first; });
  unit = unit == kUnits.end() ? &kUnits.back() : unit;
  std::ostringstream text;
  text << std::setprecision(3) << ns / unit->first << unit->second;
  return text.str();
}

// Why "auto" does not take it; empty if it may.
std::string objection_to(const TrackerModel& model, const Availability& tracker,
                         const CostTable& costs) {
  if (!model.objection.empty()) {
    return std::string(model.objection);
  }
  if (!tracker.available) {
    return tracker.reason;
  }
  return costs.find(model.name) != nullptr
             ? std::string()
             : "there are no usable figures for it among those that are " + costs.source;
}

// The models' order, as an index.
std::ptrdiff_t place_of(const RankedTracker& tracker) {
  return find_tracker_model(tracker.name) - tracker_models().data();
}

// So that the choice does not turn with the noise of the figures. `ranked` is sorted by cost.
void prefer_the_first_of_equals(std::vector<RankedTracker>& ranked) {
  const auto end = std::find_if(ranked.begin(), ranked.end(), [&](const RankedTracker& tracker) {
    return tracker.cost.total_ns() > ranked.front().cost.total_ns() * kSameTimes;
  });
  const auto first = std::min_element(
      ranked.begin(), end,
      [](const RankedTracker& a, const RankedTracker& b) { return place_of(a) < place_of(b); });
  if (first != end) {
    std::rotate(ranked.begin(), first, first + 1);
  }
}

}  // namespace

PredictedCost predict_cost(std::string_view name, const CostTable& costs,
                           const TrackerWorkload& workload) {
  const TrackerModel& model = *find_tracker_model(name);
  const CostModel& figures = *costs.find(name);
  const double vcpus = std::max<std::uint32_t>(workload.vcpus, 1);
  const double dirty = count(workload.dirty_pages);
  return {
      .arm_ns = vcpus * (figures.arm_ns + figures.arm_page_ns * pages_of(model.arming, workload)),
      .writes_ns = dirty * figures.first_write_ns * (model.answers_one_by_one ? vcpus : 1.0),
      .collect_ns = vcpus * (figures.collect_ns +
                             figures.collect_page_ns * pages_of(model.collecting, workload) +
                             figures.collect_dirty_ns * dirty),
      .side_ns = side_cost(model, costs, workload)};
}

TrackerRanking rank_trackers(std::span<const Availability> trackers, const CostTable& costs,
                             const TrackerWorkload& workload) {
  TrackerRanking ranking;
  for (const TrackerModel& model : tracker_models()) {
    const auto tracker =
        std::find_if(trackers.begin(), trackers.end(),
                     [&](const Availability& candidate) { return candidate.name == model.name; });
    if (tracker == trackers.end()) {
      continue;
    }
    if (std::string objection = objection_to(model, *tracker, costs); !objection.empty()) {
      ranking.passed_over.push_back({std::string(model.name), {}, std::move(objection)});
      continue;
    }
    ranking.best_first.push_back({std::string(model.name),
                                  predict_cost(model.name, costs, workload),
                                  std::string(model.merit)});
  }
  std::stable_sort(ranking.best_first.begin(), ranking.best_first.end(),
                   [](const RankedTracker& a, const RankedTracker& b) {
                     return a.cost.total_ns() < b.cost.total_ns();
                   });
  prefer_the_first_of_equals(ranking.best_first);
  if (ranking.best_first.empty()) {
    ranking.best_first.push_back(
        {std::string(kAlwaysThere), {}, std::string(find_tracker_model(kAlwaysThere)->merit)});
  }
  return ranking;
}

std::string describe(const TrackerWorkload& workload) {
  const std::uint64_t percent =
      workload.memory_pages == 0 ? 100 : workload.resident_pages * 100 / workload.memory_pages;
  std::string text = std::to_string(workload.memory_pages) + " pages of memory (" +
                     std::to_string(percent) + " % resident), of which " +
                     std::to_string(workload.dirty_pages) + " are expected to be written, " +
                     std::to_string(workload.vcpus) + (workload.vcpus == 1 ? " vCPU" : " vCPUs");
  if (workload.missing_pages != 0) {
    text += ", " + std::to_string(workload.missing_pages) + " pages missing until they are touched";
  }
  return workload.is_live ? text + ", saved while it runs" : text;
}

std::string describe(const PredictedCost& cost) {
  std::string text = duration(cost.total_ns()) + " (arming " + duration(cost.arm_ns) +
                     ", first writes " + duration(cost.writes_ns) + ", collecting " +
                     duration(cost.collect_ns);
  return text + (cost.side_ns > 0 ? ", on the side " + duration(cost.side_ns) + ")" : ")");
}

}  // namespace stasis::snapshot
