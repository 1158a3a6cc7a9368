// Mapped memory: as few private file mappings as possible.
//
// One snapshot's raw extents that lie at a constant distance between guest address and file offset
// form a *run*, which takes one mapping. What lies between two of them may be mapped with them if
// it is covered later, by a newer snapshot of the chain or by zeros, or if the file has a hole
// there. Mappings are laid down oldest snapshot first, so that newer ones cover older ones.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "core/text.h"
#include "snapshot/policies/steps.h"

namespace stasis::snapshot::internal {
namespace {

struct Run {
  GpaRange range;
  std::uint32_t depth = 0;
  std::uint64_t file_offset = 0;
  bool mapped = false;
};

bool overlaps(const GpaRanges& sorted, GpaRange range) {
  const auto after = std::upper_bound(sorted.begin(), sorted.end(), range.begin,
                                      [](Gpa gpa, const GpaRange& r) { return gpa < r.begin; });
  return (after != sorted.end() && after->begin < range.end()) ||
         (after != sorted.begin() && range.begin < std::prev(after)->end());
}

// Whether a mapping of that snapshot's file shows something else than zeros at `zero`, or might.
bool file_hides(const SourceLayer& layer, GpaRange zero) {
  return layer.layout != Layout::kMappable || overlaps(layer.stored, zero);
}

std::uint64_t file_position(const SourceExtent& source) {
  return source.extent.file_offset + (source.range.begin.value - source.extent.range.begin.value);
}

class RunFinder {
 public:
  RunFinder(const PlanInput& input, const PolicyOptions& options)
      : input_(input), options_(options), open_(input.layers.size()) {}

  // Afterwards run_of()[i] is the run of extent i, if it can be mapped.
  void find() {
    run_of_.resize(input_.extents.size());
    std::size_t region = 0;
    for (std::size_t i = 0; i < input_.extents.size(); ++i) {
      const SourceExtent& source = input_.extents[i];
      while (region < input_.regions.size() &&
             !input_.regions[region].range.contains(source.range.begin)) {
        ++region;
        std::fill(open_.begin(), open_.end(), std::nullopt);  // A mapping stays in its region.
      }
      if (source.extent.kind == ExtentKind::kZero) {
        pass_zero(source.range);
        continue;
      }
      if (source.depth >= open_.size()) {
        continue;  // check_plan() refuses such an input.
      }
      // What an older snapshot holds must not be covered by a newer file.
      std::fill(open_.begin(), open_.begin() + source.depth, std::nullopt);
      if (can_map(source)) {
        run_of_[i] = extend_or_start(source);
      }
    }
  }

  std::vector<Run>& runs() { return runs_; }
  [[nodiscard]] const std::vector<std::optional<std::size_t>>& run_of() const { return run_of_; }

 private:
  struct OpenRun {
    std::size_t index = 0;
    std::uint64_t bridged_bytes = 0;  // Of holes since its last extent.
  };

  [[nodiscard]] bool can_map(const SourceExtent& source) const {
    const std::uint64_t unit = input_.host_page_size_bytes;
    return source.extent.kind == ExtentKind::kRaw && input_.layers[source.depth].mappable &&
           is_aligned(file_position(source), unit) && is_aligned(source.range.begin.value, unit) &&
           is_aligned(source.range.size, unit);
  }

  // Mappings may run over zeros: over a short hole of their file as it is, over anything else
  // because it is made zero afterwards.
  void pass_zero(GpaRange zero) {
    for (std::size_t depth = 0; depth < open_.size(); ++depth) {
      std::optional<OpenRun>& open = open_[depth];
      if (!open || file_hides(input_.layers[depth], zero)) {
        continue;
      }
      open->bridged_bytes += zero.size;
      if (open->bridged_bytes > options_.bridge_bytes_max) {
        open.reset();
      }
    }
  }

  std::size_t extend_or_start(const SourceExtent& source) {
    auto& open = open_[source.depth];
    const std::uint64_t position = file_position(source);
    if (open) {
      Run& run = runs_[open->index];
      const std::uint64_t distance = source.range.begin.value - run.range.begin.value;
      if (position >= run.file_offset && position - run.file_offset == distance) {
        run.range.size = distance + source.range.size;
        open->bridged_bytes = 0;
        return open->index;
      }
    }
    runs_.push_back({source.range, source.depth, position, false});
    open = OpenRun{runs_.size() - 1, 0};
    return open->index;
  }

  const PlanInput& input_;
  const PolicyOptions& options_;
  std::vector<std::optional<OpenRun>> open_;  // By depth: the run that may go on.
  std::vector<Run> runs_;
  std::vector<std::optional<std::size_t>> run_of_;
};

// Marks the runs that are worth a mapping, the largest first, at most mappings_max of them.
void choose_mapped(std::vector<Run>& runs, const PolicyOptions& options) {
  std::vector<Run*> candidates;
  const bool few = runs.size() <= options.map_all_max;
  for (Run& run : runs) {
    if (few || run.range.size >= options.map_bytes_min) {
      candidates.push_back(&run);
    }
  }
  if (candidates.size() > options.mappings_max) {
    std::nth_element(candidates.begin(), candidates.begin() + options.mappings_max,
                     candidates.end(), [](const Run* a, const Run* b) {
                       return a->range.size != b->range.size ? a->range.size > b->range.size
                                                             : a->range.begin < b->range.begin;
                     });
    candidates.resize(options.mappings_max);
  }
  for (Run* run : candidates) {
    run->mapped = true;
  }
}

// Whether a mapping lies over `zero` where its file does not hold zeros.
bool is_hidden(GpaRange zero, const std::vector<const Run*>& mapped, const PlanInput& input) {
  return std::any_of(mapped.begin(), mapped.end(), [&](const Run* run) {
    return run->range.begin < zero.end() && zero.begin < run->range.end() &&
           file_hides(input.layers[run->depth], zero);
  });
}

// Drops the runs of files that hold a zero wherever the guest has one: in the common case all, and
// then no zero extent needs a look.
std::vector<const Run*> runs_that_may_hide(std::vector<const Run*> mapped, const PlanInput& input) {
  std::erase_if(mapped, [&](const Run* run) {
    const SourceLayer& layer = input.layers[run->depth];
    return layer.layout == Layout::kMappable && layer.stored.empty();
  });
  return mapped;
}

std::vector<const Run*> mapped_runs(const std::vector<Run>& runs) {
  std::vector<const Run*> mapped;
  for (const Run& run : runs) {
    if (run.mapped) {
      mapped.push_back(&run);
    }
  }
  return mapped;
}

void append_mappings(std::vector<const Run*> mapped, ReadAhead read_ahead, RestorePlan& plan) {
  std::stable_sort(mapped.begin(), mapped.end(),
                   [](const Run* a, const Run* b) { return a->depth > b->depth; });
  for (const Run* run : mapped) {
    plan.steps.emplace_back(MapPrivateFile{run->range, run->depth, run->file_offset, read_ahead});
  }
}

void append_zeros(const PlanInput& input, const std::vector<const Run*>& mapped,
                  const PolicyOptions& options, RestorePlan& plan) {
  const std::vector<const Run*> suspects = runs_that_may_hide(mapped, input);
  std::uint32_t mappings = 0;
  for (const SourceExtent& source : input.extents) {
    if (source.extent.kind != ExtentKind::kZero || !is_hidden(source.range, suspects, input)) {
      continue;
    }
    const bool map = source.range.size >= options.map_bytes_min && mappings < options.mappings_max;
    mappings += map ? 1U : 0U;
    plan.steps.emplace_back(Zero{source.range, map ? ZeroBy::kMapping : ZeroBy::kFilling});
  }
}

void note_deviations(const PlanInput& input, const PolicyOptions& options,
                     const std::vector<Run>& runs, RestorePlan& plan) {
  const auto filled = static_cast<std::size_t>(
      std::count_if(runs.begin(), runs.end(), [](const Run& run) { return !run.mapped; }));
  if (filled != 0) {
    plan.notes.push_back(std::to_string(filled) + " of " + std::to_string(runs.size()) +
                         " raw pieces are read instead of mapped, because they are smaller than " +
                         describe_bytes(options.map_bytes_min) + " or there are more than " +
                         std::to_string(options.mappings_max));
  }
  std::uint64_t compressed = 0;
  for (const SourceExtent& source : input.extents) {
    compressed += source.extent.kind == ExtentKind::kLz4 ? source.range.size : 0;
  }
  if (compressed != 0) {
    plan.notes.push_back(std::to_string(compressed) +
                         " bytes are compressed, so they are decompressed before the guest runs");
  }
}

}  // namespace

RestorePlan plan_mapped(const PolicySpec& spec, const PlanInput& input,
                        const PolicyOptions& options) {
  RestorePlan plan = empty_plan(spec.name, input, options);
  for (RegionSpec& region : plan.regions) {
    region.backing = BackingKind::kAnonymous;  // Files can be mapped privately over no other.
  }
  avoid_reserved_huge_pages(plan, "files cannot be mapped over reserved ones");
  RunFinder finder(input, options);
  finder.find();
  std::vector<Run>& runs = finder.runs();
  choose_mapped(runs, options);
  const std::vector<const Run*> mapped = mapped_runs(runs);
  append_mappings(mapped, spec.read_ahead.value_or(options.read_ahead), plan);
  append_zeros(input, mapped, options, plan);
  for (std::size_t i = 0; i < input.extents.size(); ++i) {
    const std::optional<std::size_t> run = finder.run_of()[i];
    if (!run || !runs[*run].mapped) {
      append_fill(input.extents[i], plan);
    }
  }
  note_deviations(input, options, runs, plan);
  return plan;
}

}  // namespace stasis::snapshot::internal
