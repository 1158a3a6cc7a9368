#include "snapshot/trackers/cost_table.h"

#include <algorithm>
#include <cmath>

namespace stasis::snapshot {

bool is_plausible(const CostModel& costs) {
  const auto in_range = [](double value) {
    return std::isfinite(value) && value >= 0 && value <= kCostMaxNs;
  };
  return in_range(costs.arm_ns) && in_range(costs.arm_page_ns) && in_range(costs.first_write_ns) &&
         in_range(costs.collect_ns) && in_range(costs.collect_page_ns) &&
         in_range(costs.collect_dirty_ns);
}

const CostModel* CostTable::find(std::string_view name) const {
  const auto found = std::find_if(trackers.begin(), trackers.end(),
                                  [&](const auto& tracker) { return tracker.first == name; });
  return found == trackers.end() || !is_plausible(found->second) ? nullptr : &found->second;
}

const CostTable& builtin_costs() {
  static const CostTable table = {.source =
                                      "built in, as `stasis doctor --calibrate` measured them on "
                                      "an AMD EPYC with two CPUs, KVM "
                                      "as the PVM module, Linux 6.18",
                                  .trackers = {{"dirty-log",
                                                {.arm_ns = 50e3,
                                                 .arm_page_ns = 3,
                                                 .first_write_ns = 2700,
                                                 .collect_ns = 4e3,
                                                 .collect_page_ns = 0.07,
                                                 .collect_dirty_ns = 58}},
                                               {"dirty-log-manual",
                                                {.arm_ns = 10e3,
                                                 .arm_page_ns = 9.5,
                                                 .first_write_ns = 2700,
                                                 .collect_ns = 5e3,
                                                 .collect_page_ns = 0.1,
                                                 .collect_dirty_ns = 72}},
                                               {"pagemap-scan",
                                                {.arm_page_ns = 210,
                                                 .first_write_ns = 6700,
                                                 .collect_ns = 30e3,
                                                 .collect_page_ns = 2.6,
                                                 .collect_dirty_ns = 140}},
                                               {"protection",
                                                {.arm_page_ns = 195,
                                                 .first_write_ns = 67e3,
                                                 .collect_ns = 21e3,
                                                 .collect_dirty_ns = 2150}},
                                               {"compare-hash",
                                                {.arm_page_ns = 242,
                                                 .first_write_ns = 240,
                                                 .collect_page_ns = 248,
                                                 .collect_dirty_ns = 50}},
                                               {"fork",
                                                {.arm_page_ns = 135,
                                                 .first_write_ns = 12.7e3,
                                                 .collect_page_ns = 390,
                                                 .collect_dirty_ns = 3700}}}};
  return table;
}

CostModel fit_costs(const CostSample& small_few, const CostSample& small_many,
                    const CostSample& large_few, const CostSample& large_many) {
  const double pages = large_few.memory_pages - small_few.memory_pages;
  const auto a_page = [&](double small, double large) {
    return pages > 0 ? std::max(0.0, (large - small) / pages) : 0.0;
  };
  const auto a_dirty_page = [](const CostSample& few, const CostSample& many) {
    const double more = many.dirty_pages - few.dirty_pages;
    return more > 0 ? std::max(0.0, (many.collect_ns - few.collect_ns) / more) : 0.0;
  };
  const auto a_write = [](const CostSample& many) {
    return many.dirty_pages > 0 ? std::max(0.0, many.slowdown_ns / many.dirty_pages) : 0.0;
  };
  CostModel model;
  const double small_arm = (small_few.arm_ns + small_many.arm_ns) / 2;
  const double large_arm = (large_few.arm_ns + large_many.arm_ns) / 2;
  model.arm_page_ns = a_page(small_arm, large_arm);
  model.arm_ns = std::max(0.0, small_arm - model.arm_page_ns * small_few.memory_pages);
  // Few writes are lost in the time of the request that brings them.
  model.first_write_ns = (a_write(small_many) + a_write(large_many)) / 2;
  model.collect_dirty_ns =
      (a_dirty_page(small_few, small_many) + a_dirty_page(large_few, large_many)) / 2;
  model.collect_page_ns = a_page(small_few.collect_ns, large_few.collect_ns);
  model.collect_ns =
      std::max(0.0, small_few.collect_ns - model.collect_page_ns * small_few.memory_pages -
                        model.collect_dirty_ns * small_few.dirty_pages);
  return model;
}

}  // namespace stasis::snapshot
