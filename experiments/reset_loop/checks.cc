// The acceptance inequalities of reset_loop.
#include <fmt/format.h>

#include <charconv>
#include <map>
#include <optional>
#include <set>

#include "experiments/harness/evaluator.h"
#include "experiments/reset_loop/reset_loop.h"

namespace stasis::experiments::reset_loop {
namespace {

constexpr double kUs = 1e3;
constexpr double kTimesFloorMax = 1.3;
constexpr double kTailMax = 3;
constexpr double kTimesFullCopyMin = 4;
constexpr double kSmallShare = 0.01;

std::uint64_t number_of(const std::string& text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// The cells of one tracker at the size of memory that has most of them, by pages.
using Cells = std::map<std::uint64_t, const Cell*>;

std::map<std::string, Cells> cells_of(const Plan& plan) {
  std::map<std::string, std::map<std::string, Cells>> by_tracker;
  for (const Cell& cell : plan.cells) {
    const std::string tracker = level_of(cell.factors, "tracker");
    if (!tracker.empty()) {
      by_tracker[tracker][level_of(cell.factors, "memory")].emplace(
          number_of(level_of(cell.factors, "pages")), &cell);
    }
  }
  std::map<std::string, Cells> most;
  for (const auto& [tracker, sizes] : by_tracker) {
    for (const auto& [memory, cells] : sizes) {
      if (cells.size() > most[tracker].size()) {
        most[tracker] = cells;
      }
    }
  }
  return most;
}

std::optional<double> metric_of(const Row& row, const char* name) {
  const auto found = row.metrics.find(name);
  return found == row.metrics.end() ? std::nullopt : std::optional(found->second);
}

void check_exactness(Evaluator& evaluator) {
  evaluator.greatest({.name = "no_page_strays",
                      .text = "every page that the tracker named is put back, and no other"},
                     "reset/", "strayed_pages", 1);
  evaluator.greatest(
      {.name = "none_missed", .text = "every page that the guest was told to write is put back"},
      "reset/", [](const Row& row) -> std::optional<Evaluator::Figure> {
        const auto found = metric_of(row, "dirty_pages");
        const std::uint64_t pages = number_of(level_of(row.factors, "pages"));
        if (!found) {
          return std::nullopt;
        }
        return Evaluator::Figure{.value = std::max(0.0, static_cast<double>(pages) - *found),
                                 .words = fmt::format("{} written, {} put back", pages, *found)};
      });
  evaluator.proofs_agree(
      {.name = "same_answers",
       .text = "the guest answers the same after every reset, whatever finds its pages"},
      [](const Row& row) {
        return level_of(row.factors, "memory") + "/" + level_of(row.factors, "pages");
      });
}

void check_tracker(Evaluator& evaluator, const std::string& tracker, const Cells& cells) {
  std::vector<std::string> ids;
  for (const auto& [pages, cell] : cells) {
    ids.push_back(cell->id);
    const auto of = [&cell = cell](const char* metric) {
      return Quantity{.cell = cell->id, .metric = metric};
    };
    evaluator.ratio(
        {.name = fmt::format("reset_vs_floor/{}/{}", tracker, pages),
         .text = fmt::format("{}, {} pages: a reset takes at most {} x collecting and a memcpy",
                             tracker, pages, kTimesFloorMax),
         .limit = kTimesFloorMax},
        of("reset_ns"), of("floor_ns"));
    evaluator.ratio(
        {.name = fmt::format("memory_vs_floor/{}/{}", tracker, pages),
         .text = fmt::format("{}, {} pages: its memory alone, without the state of vCPUs and "
                             "devices, takes at most {} x the same",
                             tracker, pages, kTimesFloorMax),
         .limit = kTimesFloorMax},
        of("memory_ns"), of("floor_ns"));
    evaluator.ratio({.name = fmt::format("tail/{}/{}", tracker, pages),
                     .text = fmt::format("{}, {} pages: the 99th percentile is at most {} x the "
                                         "median",
                                         tracker, pages, kTailMax),
                     .limit = kTailMax},
                    of("reset_p99_ns"), of("reset_ns"));
  }
  evaluator.linear({.name = "linear/" + tracker,
                    .text = tracker + ": a reset is linear in the pages put back, R^2 > 0.95",
                    .bound = Bound::kAtLeast,
                    .limit = 0.95},
                   ids, {.metric = "dirty_pages", .unit = 1, .unit_name = "page"},
                   {.metric = "reset_ns", .unit = kUs, .unit_name = "us"});
}

// Of each tracker the most pages that are at most a hundredth of memory.
void check_against_full_copy(Evaluator& evaluator, const std::string& tracker, const Cells& cells) {
  const Cell* small = nullptr;
  for (const auto& [pages, cell] : cells) {
    const double memory =
        static_cast<double>(number_of(level_of(cell->factors, "memory")) * kPagesPerMib);
    small = static_cast<double>(pages) <= kSmallShare * memory ? cell : small;
  }
  if (small != nullptr) {
    evaluator.ratio({.name = "beats_full_copy/" + tracker,
                     .text = fmt::format("{}: with at most 1 % of memory written, a memcpy of all "
                                         "of it takes at least {} x a reset",
                                         tracker, kTimesFullCopyMin),
                     .bound = Bound::kAtLeast,
                     .limit = kTimesFullCopyMin},
                    {.cell = small->id, .metric = "full_copy_ns"},
                    {.cell = small->id, .metric = "reset_ns"});
  }
}

}  // namespace

std::vector<CheckOutcome> check(const Plan& plan, const RowTable& table) {
  Evaluator evaluator(plan, table);
  check_exactness(evaluator);
  for (const auto& [tracker, cells] : cells_of(plan)) {
    check_tracker(evaluator, tracker, cells);
    check_against_full_copy(evaluator, tracker, cells);
  }
  return std::move(evaluator).take();
}

}  // namespace stasis::experiments::reset_loop
