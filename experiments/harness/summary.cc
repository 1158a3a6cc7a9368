#include "experiments/harness/summary.h"

#include <algorithm>
#include <set>

#include "experiments/stats/descriptive.h"
#include "experiments/stats/effect.h"

namespace stasis::experiments {

RowTable::RowTable(const Plan& plan, std::span<const Row> rows) {
  const std::string id = plan_id(plan);
  std::set<std::pair<std::string, std::uint32_t>> measured;
  std::map<std::string, std::set<std::uint32_t>> failed;
  for (const Row& row : rows) {
    if (row.plan != id || row.warmup) {
      continue;
    }
    if (!row.error.empty()) {
      failed[row.cell].insert(row.block);
    } else if (measured.insert({row.cell, row.block}).second) {
      rows_.push_back(row);
    }
  }
  for (const Row& row : rows_) {
    by_cell_[row.cell][row.block] = &row;
    tainted_ += row.tainted() ? 1U : 0U;
    failed[row.cell].erase(row.block);  // It failed first and was then made again.
  }
  for (const auto& [cell, blocks] : failed) {
    failed_by_cell_[cell] = blocks.size();
    failed_ += blocks.size();
  }
}

std::vector<double> RowTable::values(const std::string& cell, const std::string& metric) const {
  std::vector<double> values;
  if (const auto rows = by_cell_.find(cell); rows != by_cell_.end()) {
    for (const auto& [block, row] : rows->second) {
      if (const auto value = row->metrics.find(metric); value != row->metrics.end()) {
        values.push_back(value->second);
      }
    }
  }
  return values;
}

std::pair<std::vector<double>, std::vector<double>> RowTable::pairs(
    const std::string& cell, const std::string& metric, const std::string& other_cell,
    const std::string& other_metric) const {
  std::pair<std::vector<double>, std::vector<double>> pairs;
  const auto rows = by_cell_.find(cell);
  const auto others = by_cell_.find(other_cell);
  if (rows == by_cell_.end() || others == by_cell_.end()) {
    return pairs;
  }
  for (const auto& [block, row] : rows->second) {
    const auto other = others->second.find(block);
    if (other == others->second.end()) {
      continue;
    }
    const auto value = row->metrics.find(metric);
    const auto other_value = other->second->metrics.find(other_metric);
    if (value != row->metrics.end() && other_value != other->second->metrics.end() &&
        other_value->second > 0) {
      pairs.first.push_back(value->second);
      pairs.second.push_back(other_value->second);
    }
  }
  return pairs;
}

std::map<std::uint32_t, double> RowTable::by_block(const std::string& cell,
                                                   const std::string& metric) const {
  std::map<std::uint32_t, double> values;
  if (const auto rows = by_cell_.find(cell); rows != by_cell_.end()) {
    for (const auto& [block, row] : rows->second) {
      if (const auto value = row->metrics.find(metric); value != row->metrics.end()) {
        values[block] = value->second;
      }
    }
  }
  return values;
}

std::pair<std::vector<double>, std::vector<double>> pairs_of(const RowTable& first,
                                                             const RowTable& second,
                                                             const std::string& cell,
                                                             const std::string& metric) {
  std::pair<std::vector<double>, std::vector<double>> pairs;
  const std::map<std::uint32_t, double> others = second.by_block(cell, metric);
  for (const auto& [block, value] : first.by_block(cell, metric)) {
    if (const auto other = others.find(block); other != others.end()) {
      pairs.first.push_back(value);
      pairs.second.push_back(other->second);
    }
  }
  return pairs;
}

std::size_t RowTable::failed(const std::string& cell) const {
  const auto found = failed_by_cell_.find(cell);
  return found == failed_by_cell_.end() ? 0 : found->second;
}

namespace {

MetricSummary summarize_metric(const std::vector<double>& values, std::uint64_t seed) {
  MetricSummary summary;
  summary.trials = values.size();
  summary.median = bootstrap_median(values, {.seed = seed});
  const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
  summary.min = *least;
  summary.max = *greatest;
  summary.p90 = quantile(values, 0.9);
  if (summary.median.estimate > 0) {
    summary.minimum_detectable_effect = minimum_detectable_effect(values, values.size());
  }
  return summary;
}

}  // namespace

std::vector<CellSummary> summarize(const Plan& plan, const RowTable& table) {
  std::map<std::string, std::set<std::string>> metric_names;
  std::map<std::string, std::size_t> trials;
  std::map<std::string, std::size_t> tainted;
  for (const Row& row : table.rows()) {
    ++trials[row.cell];
    tainted[row.cell] += row.tainted() ? 1U : 0U;
    for (const auto& [name, value] : row.metrics) {
      metric_names[row.cell].insert(name);
    }
  }
  std::vector<CellSummary> summaries;
  for (const Cell& cell : plan.cells) {
    CellSummary summary;
    summary.cell = cell;
    summary.trials = trials[cell.id];
    summary.tainted = tainted[cell.id];
    summary.failed = table.failed(cell.id);
    for (const std::string& name : metric_names[cell.id]) {
      summary.metrics[name] = summarize_metric(table.values(cell.id, name), plan.seed);
    }
    if (!cell.floor_cell.empty()) {
      const auto [numerators, denominators] =
          table.pairs(cell.id, cell.headline, cell.floor_cell, cell.floor_metric);
      if (!numerators.empty()) {
        summary.times_floor = bootstrap_median_ratio(numerators, denominators, {.seed = plan.seed});
      }
    }
    summaries.push_back(std::move(summary));
  }
  return summaries;
}

}  // namespace stasis::experiments
