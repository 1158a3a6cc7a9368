#include "experiments/restore_scaling/restore_scaling.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <set>
#include <utility>

#include "experiments/harness/cell_builder.h"
#include "experiments/harness/evaluator.h"

namespace stasis::experiments {
namespace restore_scaling {

std::string size_id(const std::string& policy, std::uint64_t mib, std::uint32_t vcpus) {
  return fmt::format("restore/{}/{}/vcpus{}", policy, size_name(mib), vcpus);
}
std::string at_once_id(const std::string& policy, std::uint32_t at_once) {
  return fmt::format("at-once/{}/n{}", policy, at_once);
}

namespace {

constexpr double kFlatMax = 1.5;
constexpr double kMiB = 1024.0 * 1024.0;
constexpr double kMs = 1e6;

// Memory and vCPUs after Firecracker's test of restore latency, as far as a small host has memory.
struct Size {
  std::uint64_t mib;
  std::uint32_t vcpus;
};

std::vector<Size> sizes_of(const Workload& workload) {
  if (workload.is_toy) {
    return {{16, 1}, {32, 1}, {64, 1}};
  }
  if (workload.is_quick) {
    return {{64, 1}, {128, 1}, {256, 2}};
  }
  return {{128, 1}, {256, 1}, {512, 1}, {1024, 1}, {1024, 2}, {2048, 2}, {4096, 3}};
}

std::vector<std::uint32_t> at_once_of(const Workload& workload) {
  return workload.is_quick ? std::vector<std::uint32_t>{1, 2, 4}
                           : std::vector<std::uint32_t>{1, 2, 4, 8, 16};
}

std::string snapshot_name(const Size& size) {
  return fmt::format("full-{}-{}", size_name(size.mib), size.vcpus);
}

// Half of it not zero.
void add_snapshot(CellBuilder& builder, const Size& size) {
  const bool is_toy = builder.workload().is_toy;
  TrialRequest request{.kind = "prepare"};
  request.parameters = {{"guest", is_toy ? "toy:counter" : "pagetoucher"},
                        {"memory_bytes", bytes_of(size.mib)},
                        {"vcpus", std::to_string(size.vcpus)},
                        {"out", kScratchPrefix + snapshot_name(size)},
                        {"threads", "2"}};
  if (!is_toy) {
    request.parameters["arguments"] = fmt::format("{} seed=3", size.mib / 2);
  }
  builder.prepare("the snapshot " + snapshot_name(size), snapshot_name(size), std::move(request));
}

void add_size(CellBuilder& builder, const std::string& policy, const Size& size) {
  PlannedCell& planned = builder.restore({.id = size_id(policy, size.mib, size.vcpus),
                                          .snapshot = snapshot_name(size),
                                          .policy = policy,
                                          .mib = size.mib,
                                          .threads = 2,
                                          .headline = "first_instruction_ns"});
  planned.cell.factors.emplace_back("vcpus", std::to_string(size.vcpus));
}

void add_at_once(CellBuilder& builder, const std::string& policy, const Size& size,
                 std::uint32_t at_once) {
  PlannedCell& planned = builder.restore({.id = at_once_id(policy, at_once),
                                          .snapshot = snapshot_name(size),
                                          .policy = policy,
                                          .mib = size.mib,
                                          .percent = 10,
                                          .headline = "slowest_ns"});
  planned.trial.kind = "restore_many";
  planned.trial.parameters["at_once"] = std::to_string(at_once);
  planned.cell.headline = "slowest_ns";
  planned.cell.factors.front().second = "at once";
  planned.cell.factors.emplace_back("at_once", std::to_string(at_once));
  planned.fresh_bytes =
      std::min<std::uint64_t>(planned.fresh_bytes * at_once, std::uint64_t{4} << 30U);
}

Result<Experiment> design_cells(const Design& design) {
  CellBuilder builder("restore_scaling", design.workload);
  const std::vector<Size> sizes = sizes_of(design.workload);
  for (const Size& size : sizes) {
    add_snapshot(builder, size);
  }
  const std::vector<std::string> policies = design.selection.policies.empty()
                                                ? std::vector<std::string>{"lazy", "eager"}
                                                : design.selection.policies;
  for (const std::string& policy : policies) {
    for (const Size& size : sizes) {
      add_size(builder, policy, size);
    }
    for (const std::uint32_t at_once : at_once_of(design.workload)) {
      add_at_once(builder, policy, sizes.front(), at_once);
    }
  }
  return std::move(builder).finish();
}

std::uint64_t number_of(const Cell& cell, const char* factor) {
  const std::string level = level_of(cell.factors, factor);
  std::uint64_t value = 0;
  std::from_chars(level.data(), level.data() + level.size(), value);
  return value;
}

// Firecracker's published averages on an AMD host: section E14 of the survey of the literature,
// read in the test's baselines. Milliseconds, of another monitor on another processor.
constexpr std::array<PaperPoint, 2> kFirecracker = {
    {{"Firecracker CI, AMD 7R13", 128, 5e6}, {"Firecracker CI, AMD 7R13", 4096, 34e6}}};

constexpr std::array<Figure, 3> kFigures = {
    {{.title = "By the guest's memory",
      .caption = "To the first instruction, page cache warm, half of memory zero. Firecracker's "
                 "points are of the call that loads a snapshot.",
      .cell_prefix = "restore/",
      .x_factor = "memory",
      .x_label = "guest memory, MiB",
      .series_factor = "policy",
      .metric = "first_instruction_ns",
      .x_axis = Axis::kLogarithmic,
      .y_axis = Axis::kLogarithmic,
      .paper = kFirecracker},
     {.title = "At once: the slowest answer",
      .caption = "From the start of all processes to the first response of the last one, which has "
                 "touched a tenth of its memory. Beyond as many as there are CPUs, they wait.",
      .cell_prefix = "at-once/",
      .x_factor = "at_once",
      .x_label = "restores at the same time",
      .series_factor = "policy",
      .metric = "slowest_ns"},
     {.title = "At once: CPU time of each",
      .caption = "User and system time of a process, on average.",
      .cell_prefix = "at-once/",
      .x_factor = "at_once",
      .x_label = "restores at the same time",
      .series_factor = "policy",
      .metric = "cpu_each_ns"}}};

}  // namespace

std::vector<CheckOutcome> check(const Plan& plan, const RowTable& table) {
  Evaluator evaluator(plan, table);
  std::map<std::string, std::vector<const Cell*>> by_policy;  // With one vCPU count or another.
  std::map<std::string, std::vector<const Cell*>> at_once;
  for (const Cell& cell : plan.cells) {
    auto& cells = level_of(cell.factors, "at_once").empty() ? by_policy : at_once;
    cells[level_of(cell.factors, "policy")].push_back(&cell);
  }
  if (const auto lazy = by_policy.find("lazy"); lazy != by_policy.end()) {
    const auto [least, most] = std::minmax_element(
        lazy->second.begin(), lazy->second.end(), [](const Cell* a, const Cell* b) {
          return number_of(*a, "memory") < number_of(*b, "memory");
        });
    evaluator.ratio(
        {.name = "lazy_is_flat",
         .text = fmt::format("lazy: the first instruction of {} M at most {} x as late as "
                             "of {} M",
                             number_of(**most, "memory"), kFlatMax, number_of(**least, "memory")),
         .limit = kFlatMax},
        {.cell = (*most)->id, .metric = (*most)->headline},
        {.cell = (*least)->id, .metric = (*least)->headline});
  }
  if (const auto eager = by_policy.find("eager"); eager != by_policy.end()) {
    std::vector<std::string> ids;
    for (const Cell* cell : eager->second) {
      ids.push_back(cell->id);
    }
    evaluator.linear(
        {.name = "eager_is_linear",
         .text = "eager: the first instruction is linear in the bytes that are filled, "
                 "R^2 > 0.95",
         .bound = Bound::kAtLeast,
         .limit = 0.95},
        ids, {.metric = "filled_bytes", .unit = kMiB, .unit_name = "MiB"},
        {.metric = eager->second.front()->headline, .unit = kMs, .unit_name = "ms"});
  }
  for (const auto& [policy, cells] : at_once) {
    const Cell* most =
        *std::max_element(cells.begin(), cells.end(), [](const Cell* a, const Cell* b) {
          return number_of(*a, "at_once") < number_of(*b, "at_once");
        });
    const auto n = static_cast<double>(number_of(*most, "at_once"));
    evaluator.ratio(
        {.name = "cpu_each/" + policy,
         .text = fmt::format("{}: each of {} restores at once takes at most twice the CPU "
                             "time of one alone",
                             policy, n),
         .limit = 2},
        {.cell = most->id, .metric = "cpu_each_ns"},
        {.cell = at_once_id(policy, 1), .metric = "cpu_each_ns"});
  }
  evaluator.proofs_agree(
      {.name = "same_answers",
       .text = "restores of the same snapshot, asked the same, give the same hash"},
      [](const Row& row) {
        return level_of(row.factors, "snapshot") + level_of(row.factors, "touched");
      });
  return std::move(evaluator).take();
}

}  // namespace restore_scaling

const Definition& restore_scaling_definition() {
  static const Definition definition = {
      .name = "restore_scaling",
      .question =
          "How does a restore's time grow with the guest's memory and vCPUs, and with the "
          "number of restores at once?",
      .takes = "about 25 min, 5 GiB of disk; --quick 1 min, 300 MiB",
      .takes_policies = true,
      .design = restore_scaling::design_cells,
      .check = restore_scaling::check,
      .trials = restore_scaling::trials(),
      .figures = restore_scaling::kFigures};
  return definition;
}

}  // namespace stasis::experiments
