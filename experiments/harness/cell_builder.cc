#include "experiments/harness/cell_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace stasis::experiments {
namespace {

// What a trial's process needs beside guest memory.
constexpr std::uint64_t kProcessMib = 64;

std::string at_scratch(const std::string& name) {
  return kScratchPrefix + name;
}

}  // namespace

std::string bytes_of(std::uint64_t mib) {
  return std::to_string(mib << 20U);
}

std::string on_off(bool on) {
  return on ? "on" : "off";
}

std::string touch_request(std::uint64_t mib, std::uint32_t percent) {
  if (percent == 0) {
    return "touch count=1";
  }
  const std::uint64_t pages = usable_mib(mib) * kPagesPerMib;
  const std::uint64_t count = std::max<std::uint64_t>(1, pages * percent / 100);
  return fmt::format("touch count={} stride={} order=random seed=7 write=30", count, pages / count);
}

std::string dirty_request(std::uint64_t mib, std::uint32_t percent, Spread spread) {
  const std::uint64_t pages = usable_mib(mib) * kPagesPerMib;
  const std::uint64_t count = std::max<std::uint64_t>(1, pages * percent / 100);
  return fmt::format("touch count={} stride={} order=random seed=9 write=1", count,
                     spread == Spread::kScattered ? pages / count : 1);
}

void CellBuilder::full_snapshot(const std::string& name, std::uint64_t mib,
                                std::uint64_t filled_mib, const std::string& extra,
                                const std::string& layout, const std::string& codec) {
  TrialRequest request{.kind = "prepare"};
  request.parameters = {{"guest", workload_.is_toy ? "toy:counter" : "pagetoucher"},
                        {"memory_bytes", bytes_of(mib)},
                        {"out", at_scratch(name)},
                        {"layout", layout},
                        {"codec", codec},
                        {"threads", "2"}};
  if (!workload_.is_toy) {
    request.parameters["arguments"] =
        fmt::format("{} seed=3{}", filled_mib, extra.empty() ? "" : " " + extra);
  }
  prepare("the snapshot " + name, name, std::move(request));
}

void CellBuilder::diff_snapshot(const std::string& name, const std::string& parent,
                                const std::string& request) {
  prepare("the differential snapshot " + name, name,
          {.kind = "save_diff",
           .parameters = {{"snapshot", at_scratch(parent)},
                          {"tracker", "auto"},
                          {"request", request},
                          {"out", at_scratch(name)},
                          {"keep", "yes"}}});
}

void CellBuilder::prepare(std::string what, const std::string& product, TrialRequest trial) {
  trial.parameters.emplace("backend", workload_.backend);
  experiment_.preparations.push_back(
      {.what = std::move(what), .product = product, .trial = std::move(trial)});
}

PlannedCell& CellBuilder::add(std::uint64_t fresh_mib, std::string id, Factors factors,
                              std::string headline, TrialRequest trial) {
  trial.parameters.emplace("backend", workload_.backend);
  experiment_.cells.push_back({.cell = {.id = std::move(id),
                                        .factors = std::move(factors),
                                        .headline = std::move(headline),
                                        .floor_cell = {},
                                        .floor_metric = {}},
                               .trial = std::move(trial),
                               .fresh_bytes = (fresh_mib + kProcessMib) << 20U});
  return experiment_.cells.back();
}

PlannedCell& CellBuilder::restore(const Restore& wanted) {
  TrialRequest request{.kind = "restore"};
  request.parameters = {{"snapshot", at_scratch(wanted.snapshot)},
                        {"policy", wanted.policy},
                        {"threads", std::to_string(wanted.threads)},
                        {"verify", on_off(wanted.verify)},
                        {"request", touch(wanted.mib, wanted.percent)}};
  PlannedCell& planned =
      add(wanted.policy == "eager" ? wanted.mib : wanted.mib * wanted.percent / 100, wanted.id,
          {{"kind", "restore"},
           {"policy", wanted.policy},
           {"snapshot", wanted.snapshot},
           {"memory", size_name(wanted.mib)},
           {"touched", wanted.percent == 0 ? "1 page" : fmt::format("{} %", wanted.percent)},
           {"threads", std::to_string(wanted.threads)},
           {"verify", on_off(wanted.verify)},
           {"cache", std::string(name_of(wanted.cache))}},
          // The mock has no counter that says when the first instruction ran.
          workload_.is_toy ? "first_response_ns" : wanted.headline, std::move(request));
  planned.cached_directories = {wanted.snapshot};
  planned.cached_directories.insert(planned.cached_directories.end(), wanted.parents.begin(),
                                    wanted.parents.end());
  planned.cache = wanted.cache;
  return planned;
}

std::string CellBuilder::touch(std::uint64_t mib, std::uint32_t percent) const {
  return workload_.is_toy ? "next" : touch_request(mib, percent);
}

std::string CellBuilder::dirty(std::uint64_t mib, std::uint32_t percent, Spread spread) const {
  return workload_.is_toy ? "next" : dirty_request(mib, percent, spread);
}

void with_floor(PlannedCell& planned, std::string cell, std::string metric) {
  planned.cell.floor_cell = std::move(cell);
  planned.cell.floor_metric = std::move(metric);
}

}  // namespace stasis::experiments
