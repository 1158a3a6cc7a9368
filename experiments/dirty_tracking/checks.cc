// The acceptance inequalities of dirty_tracking.
#include <fmt/format.h>

#include <charconv>
#include <map>
#include <optional>
#include <set>

#include "experiments/dirty_tracking/dirty_tracking.h"
#include "experiments/harness/evaluator.h"
#include "experiments/stats/bootstrap.h"
#include "experiments/stats/descriptive.h"
#include "snapshot/trackers/tracker_catalog.h"

namespace stasis::experiments::dirty_tracking {
namespace {

constexpr double kUs = 1e3;
// What a guest and its monitor write beside what they are told to: stacks, mailbox, the answer.
constexpr double kOwnPagesMax = 64;
constexpr double kTimesRawMax = 1.5;
constexpr double kTimesBestMax = 1.15;

// A size of memory with the numbers of pages that were written there.
struct Level {
  std::string memory;
  std::set<std::uint64_t> pages;
};

std::uint64_t number_of(const std::string& text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

class Cells {
 public:
  explicit Cells(const Plan& plan) {
    for (const Cell& cell : plan.cells) {
      if (level_of(cell.factors, "kind") == "guest") {
        const std::string tracker = level_of(cell.factors, "tracker");
        const std::string memory = level_of(cell.factors, "memory");
        const std::uint64_t pages = number_of(level_of(cell.factors, "pages"));
        ids_[{tracker, memory, pages}] = &cell;
        sizes_[memory].insert(pages);
        trackers_.insert(tracker);
      }
    }
  }
  [[nodiscard]] const std::set<std::string>& trackers() const { return trackers_; }
  [[nodiscard]] const Cell* find(const std::string& tracker, const std::string& memory,
                                 std::uint64_t pages) const {
    const auto found = ids_.find({tracker, memory, pages});
    return found == ids_.end() ? nullptr : found->second;
  }
  // The size of memory at which most numbers of pages were written.
  [[nodiscard]] Level main_level() const {
    Level level;
    for (const auto& [memory, pages] : sizes_) {
      if (pages.size() > level.pages.size()) {
        level = {.memory = memory, .pages = pages};
      }
    }
    return level;
  }
  // Another size, larger than that of main_level(); nothing if there is none.
  [[nodiscard]] std::optional<Level> larger_level() const {
    const Level main = main_level();
    for (const auto& [memory, pages] : sizes_) {
      if (number_of(memory) > number_of(main.memory)) {
        return Level{.memory = memory, .pages = pages};
      }
    }
    return std::nullopt;
  }

 private:
  std::map<std::tuple<std::string, std::string, std::uint64_t>, const Cell*> ids_;
  std::map<std::string, std::set<std::uint64_t>> sizes_;
  std::set<std::string> trackers_;
};

Quantity quantity(const Cell* cell, const std::string& metric) {
  return {.cell = cell == nullptr ? std::string("a cell that is not in the plan") : cell->id,
          .metric = metric};
}

std::optional<double> metric_of(const Row& row, const char* name) {
  const auto found = row.metrics.find(name);
  return found == row.metrics.end() ? std::nullopt : std::optional(found->second);
}

void check_found(Evaluator& evaluator) {
  evaluator.greatest(
      {.name = "none_missed",
       .text = "every tracker reports every page that was written, in both epochs"},
      "track/", [](const Row& row) -> std::optional<Evaluator::Figure> {
        const auto pages = metric_of(row, "pages");
        const auto found = metric_of(row, "found_pages");
        const auto refound = metric_of(row, "refound_pages");
        if (!pages || !found || !refound) {
          return std::nullopt;
        }
        return Evaluator::Figure{
            .value = std::max(0.0, *pages - std::min(*found, *refound)),
            .words = fmt::format("{} written, {} and {} found", *pages, *found, *refound)};
      });
  evaluator.greatest(
      {.name = "exact",
       .text = fmt::format("exact trackers report at most {} pages beside those that the guest was "
                           "told to write: its own stacks and mailbox",
                           kOwnPagesMax),
       .limit = kOwnPagesMax},
      "track/", [](const Row& row) -> std::optional<Evaluator::Figure> {
        const auto pages = metric_of(row, "pages");
        const auto found = metric_of(row, "found_pages");
        if (!pages || !found || level_of(row.factors, "exact") != "yes") {
          return std::nullopt;
        }
        return Evaluator::Figure{.value = *found - *pages,
                                 .words = fmt::format("{} written, {} found", *pages, *found)};
      });
}

void check_against_raw(Evaluator& evaluator, const Cells& cells) {
  const Level level = cells.main_level();
  for (const std::string& tracker : cells.trackers()) {
    const Cell* cell =
        level.pages.empty() ? nullptr : cells.find(tracker, level.memory, *level.pages.rbegin());
    // Without a tracker it is two guests' own programs that would be compared.
    if (cell != nullptr && !cell->floor_cell.empty() && tracker != kUntracked) {
      evaluator.ratio({.name = "vs_raw/" + tracker,
                       .text = fmt::format("{}: an epoch with {} pages takes at most {} x the "
                                           "mechanism on bare KVM",
                                           tracker, *level.pages.rbegin(), kTimesRawMax),
                       .limit = kTimesRawMax},
                      quantity(cell, "epoch_ns"),
                      {.cell = cell->floor_cell, .metric = cell->floor_metric});
    }
  }
}

// Those of the two that this host has, at the most pages.
void check_order(Evaluator& evaluator, const Cells& cells) {
  const Level level = cells.main_level();
  if (level.pages.empty()) {
    return;
  }
  const std::uint64_t pages = *level.pages.rbegin();
  const auto written = [&](const std::string& tracker, const std::string& metric) {
    return quantity(cells.find(tracker, level.memory, pages), metric);
  };
  const auto has = [&](const char* tracker) { return cells.trackers().contains(tracker); };
  if (has("userfaultfd") && has("pagemap-scan")) {
    evaluator.ratio(
        {.name = "kernel_beats_thread",
         .text = fmt::format("a first write that the kernel answers (pagemap-scan) costs "
                             "less than one that a thread answers (userfaultfd), {} pages",
                             pages),
         .limit = 1},
        written("pagemap-scan", "first_write_ns"), written("userfaultfd", "first_write_ns"));
  }
  if (has("fork") && has("pagemap-scan")) {
    evaluator.ratio(
        {.name = "mark_beats_copy",
         .text = fmt::format("a first write that is marked (pagemap-scan) costs less than "
                             "one that copies the page (fork), {} pages",
                             pages),
         .limit = 1},
        written("pagemap-scan", "first_write_ns"), written("fork", "first_write_ns"));
  }
  if (has("userfaultfd")) {
    evaluator.ratio(
        {.name = "thread_slows",
         .text = fmt::format("userfaultfd slows down {} first writes at least 5 x", pages),
         .bound = Bound::kAtLeast,
         .limit = 5},
        written("userfaultfd", "touched_ns"), written("userfaultfd", "plain_ns"));
  }
}

void check_proportions(Evaluator& evaluator, const Cells& cells) {
  const Level level = cells.main_level();
  const auto linear = [&](const std::string& tracker) {
    std::vector<std::string> ids;
    for (const std::uint64_t pages : level.pages) {
      if (const Cell* cell = cells.find(tracker, level.memory, pages)) {
        ids.push_back(cell->id);
      }
    }
    evaluator.linear({.name = "collects_dirty/" + tracker,
                      .text = tracker + ": collecting is linear in the pages written, R^2 > 0.95",
                      .bound = Bound::kAtLeast,
                      .limit = 0.95},
                     ids, {.metric = "pages", .unit = 1, .unit_name = "page"},
                     {.metric = "recollect_ns", .unit = kUs, .unit_name = "us"});
  };
  const std::optional<Level> larger = cells.larger_level();
  for (const char* tracker : {"dirty-ring", "userfaultfd"}) {
    if (cells.trackers().contains(tracker)) {
      linear(tracker);
    }
  }
  for (const char* tracker : {"dirty-log", "pagemap-scan", "compare"}) {
    if (!cells.trackers().contains(tracker) || !larger || !larger->pages.contains(1)) {
      continue;
    }
    const auto collect = [&](const std::string& memory) {
      return quantity(cells.find(tracker, memory, 1), "recollect_ns");
    };
    evaluator.ratio(
        {.name = std::string("collects_memory/") + tracker,
         .text = fmt::format("{}: collecting one page of {} takes at least 2 x as long as "
                             "of {}",
                             tracker, larger->memory, level.memory),
         .bound = Bound::kAtLeast,
         .limit = 2},
        collect(larger->memory), collect(level.memory));
  }
}

// Whether a tracker reports nothing but what was written: "auto" is held against those alone.
bool reports_writes(const Cell& cell) {
  const std::string tracker = level_of(cell.factors, "tracker");
  return tracker != kUntracked && tracker != snapshot::kAutoTracker &&
         (level_of(cell.factors, "exact") == "yes" || tracker.starts_with("dirty-"));
}

// Armed once, written under, collected once: by "auto" against whatever was best there.
void check_auto(Evaluator& evaluator) {
  const Requirement wanted{
      .name = "auto_is_near_the_best",
      .text = fmt::format("from arming to the first collection, auto takes at most {} x what the "
                          "best of the trackers that report writes alone takes, at every size "
                          "and number of pages",
                          kTimesBestMax),
      .limit = kTimesBestMax};
  std::optional<Interval> worst;
  std::string words;
  for (const Cell& automatic : evaluator.plan().cells) {
    if (level_of(automatic.factors, "tracker") != snapshot::kAutoTracker) {
      continue;
    }
    for (const Cell& fixed : evaluator.plan().cells) {
      if (level_of(fixed.factors, "kind") != "guest" || !reports_writes(fixed) ||
          level_of(fixed.factors, "memory") != level_of(automatic.factors, "memory") ||
          level_of(fixed.factors, "pages") != level_of(automatic.factors, "pages")) {
        continue;
      }
      const auto [above, below] =
          evaluator.table().pairs(automatic.id, "whole_ns", fixed.id, "whole_ns");
      if (above.empty()) {
        continue;
      }
      const Interval ratio = bootstrap_median_ratio(above, below, {.seed = evaluator.plan().seed});
      if (!worst || ratio.estimate > worst->estimate) {
        worst = ratio;
        words = fmt::format("{:.2f} x {}", ratio.estimate, fixed.id);
      }
    }
  }
  if (!worst) {
    return evaluator.not_applicable(
        wanted, "no block has both auto and a tracker that reports writes alone");
  }
  evaluator.value(wanted, *worst, "at worst " + words);
}

}  // namespace

std::vector<CheckOutcome> check(const Plan& plan, const RowTable& table) {
  Evaluator evaluator(plan, table);
  const Cells cells(plan);
  check_found(evaluator);
  check_against_raw(evaluator, cells);
  check_order(evaluator, cells);
  check_proportions(evaluator, cells);
  check_auto(evaluator);
  return std::move(evaluator).take();
}

}  // namespace stasis::experiments::dirty_tracking
