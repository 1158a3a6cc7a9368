#include "experiments/harness/cell_filter.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

namespace stasis::experiments {
namespace {

constexpr std::size_t kNamesShown = 5;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Error in_no_name(const Experiment& experiment, const std::string& part) {
  std::string names;
  for (std::size_t i = 0; i < std::min(kNamesShown, experiment.cells.size()); ++i) {
    names += (i == 0 ? "" : ", ") + experiment.cells[i].cell.id;
  }
  return Error{.code = Errc::kInvalidArgument,
               .message = fmt::format("no cell of '{}' has '{}' in its name; its {} cells begin "
                                      "with {}",
                                      experiment.name, part, experiment.cells.size(), names)};
}

// `path` is `directory` or lies below it.
bool is_within(std::string_view path, std::string_view directory) {
  return path.starts_with(directory) &&
         (path.size() == directory.size() || path[directory.size()] == '/');
}

// What trials read, as paths below the scratch directory.
class Needs {
 public:
  void add(const TrialRequest& request) {
    for (const auto& [name, value] : request.parameters) {
      if (value.starts_with(kScratchPrefix)) {
        paths_.insert(value.substr(std::string_view(kScratchPrefix).size()));
      }
    }
  }
  void add(const std::string& path) { paths_.insert(path); }
  // Also of what lies inside: a record beside a snapshot's files.
  [[nodiscard]] bool include(const std::string& product) const {
    return std::ranges::any_of(paths_, [&product](const std::string& path) {
      return is_within(path, product) || is_within(product, path);
    });
  }

 private:
  std::set<std::string> paths_;
};

// Latest first: what makes something may need what an earlier one makes.
std::vector<Preparation> only_needed(std::vector<Preparation> preparations, Needs needs) {
  std::ranges::reverse(preparations);
  std::vector<Preparation> kept;
  for (Preparation& preparation : preparations) {
    if (needs.include(preparation.product)) {
      needs.add(preparation.trial);
      kept.push_back(std::move(preparation));
    }
  }
  std::ranges::reverse(kept);
  return kept;
}

}  // namespace

Result<Experiment> only_cells(Experiment experiment, std::span<const std::string> wanted) {
  if (wanted.empty()) {
    return experiment;
  }
  std::set<std::string> ids;
  for (const std::string& part : wanted) {
    bool found = false;
    for (const PlannedCell& planned : experiment.cells) {
      if (contains(planned.cell.id, part)) {
        found = true;
        ids.insert(planned.cell.id);
        ids.insert(planned.cell.floor_cell);
      }
    }
    if (!found) {
      return in_no_name(experiment, part);
    }
  }
  std::erase_if(experiment.cells,
                [&ids](const PlannedCell& planned) { return !ids.contains(planned.cell.id); });
  Needs needs;
  for (const PlannedCell& planned : experiment.cells) {
    needs.add(planned.trial);
    for (const std::string& directory : planned.cached_directories) {
      needs.add(directory);
    }
  }
  experiment.preparations = only_needed(std::move(experiment.preparations), std::move(needs));
  return experiment;
}

}  // namespace stasis::experiments
