#include "snapshot/restore/plan.h"

#include <algorithm>
#include <functional>

#include "core/ranges.h"
#include "core/text.h"

namespace stasis::snapshot {
namespace {

constexpr std::uint32_t kPlanThreadsMax = 256;

template <typename... Visitors>
struct Overload : Visitors... {
  using Visitors::operator()...;
};
template <typename... Visitors>
Overload(Visitors...) -> Overload<Visitors...>;

GpaRange range_of(const RestoreStep& step) {
  return std::visit(Overload{[](const MapPrivateFile& s) { return s.range; },
                             [](const Zero& s) { return s.range; },
                             [](const ServeMissing& s) { return s.source.range; },
                             [](const ReadInto& s) { return s.source.range; },
                             [](const DecompressInto& s) { return s.source.range; }},
                    step);
}

bool fills(const RestoreStep& step) {
  return std::holds_alternative<ReadInto>(step) || std::holds_alternative<DecompressInto>(step);
}

bool inside(GpaRange inner, GpaRange outer) {
  return inner.begin >= outer.begin && make_range(inner.begin, inner.size).has_value() &&
         fits(inner.begin.value - outer.begin.value, inner.size, outer.size);
}

class PlanChecker {
 public:
  PlanChecker(const RestorePlan& plan, const PlanInput& input) : plan_(plan), input_(input) {}

  Result<void> check() {
    if (plan_.threads == 0 || plan_.threads > kPlanThreadsMax) {
      return broken("restore with " + std::to_string(plan_.threads) + " threads; 1 to " +
                    std::to_string(kPlanThreadsMax) + " are possible");
    }
    STASIS_TRY(check_regions());
    bool filling = false;
    for (const RestoreStep& step : plan_.steps) {
      filling = filling || fills(step);
      if (filling && !fills(step)) {
        return broken("the step for " + describe(range_of(step)) + " maps memory after another " +
                      "has filled some");
      }
      STASIS_TRY(check_place(range_of(step)));
      STASIS_TRY(std::visit([this](const auto& s) { return check_step(s); }, step));
    }
    STASIS_TRY(check_filled());
    STASIS_TRY(check_missing());
    return check_brought_in();
  }

 private:
  [[nodiscard]] Error broken(const std::string& why) const {
    return Error{Errc::kInvalidArgument, 0,
                 "restore plan of policy '" + plan_.policy + "': " + why};
  }

  Result<void> check_regions() {
    bool same = plan_.regions.size() == input_.regions.size();
    for (std::size_t i = 0; same && i < plan_.regions.size(); ++i) {
      same = plan_.regions[i].range == input_.regions[i].range;
    }
    if (!same) {
      return broken("its regions are not those of the snapshot");
    }
    return {};
  }

  [[nodiscard]] bool is_placed(GpaRange range) const {
    return std::any_of(input_.regions.begin(), input_.regions.end(),
                       [&](const ManifestRegion& region) { return inside(range, region.range); });
  }

  Result<void> check_place(GpaRange range) {
    const std::uint64_t unit = std::max<std::uint64_t>(input_.page_size_bytes, 1);
    if (!is_placed(range) || range.size == 0 || !is_aligned(range.begin.value, unit) ||
        !is_aligned(range.size, unit)) {
      return broken("the step for " + describe(range) + " is not whole pages of one region");
    }
    return {};
  }

  Result<void> check_step(const MapPrivateFile& step) {
    if (step.depth >= input_.layers.size() || !input_.layers[step.depth].mappable ||
        !is_aligned(step.file_offset, input_.host_page_size_bytes) ||
        !fits(step.file_offset, step.range.size, input_.layers[step.depth].payload_bytes)) {
      return broken("the mapping of " + describe(step.range) + " at file offset " +
                    hex(step.file_offset) + " leaves the payload at depth " +
                    std::to_string(step.depth) + " or is not aligned to pages");
    }
    return {};
  }
  Result<void> check_step(const Zero&) { return {}; }
  Result<void> check_step(const ServeMissing& step) {
    const RegionSpec& region = region_of(step.source.range);
    const std::uint64_t unit = input_.host_page_size_bytes;
    if ((region.backing != BackingKind::kAnonymous && region.backing != BackingKind::kMemfd) ||
        region.huge_pages == HugePages::kHugetlb ||
        !is_aligned(step.source.range.begin.value, unit) ||
        !is_aligned(step.source.range.size, unit)) {
      return broken("pages of " + describe(step.source.range) +
                    " cannot be missing: only whole pages of the host of anonymous memory or memfd "
                    "without reserved huge pages can");
    }
    return step.source.extent.kind == ExtentKind::kZero
               ? Result<void>()
               : check_source(step.source, step.source.extent.kind);
  }
  Result<void> check_step(const ReadInto& step) {
    return check_source(step.source, ExtentKind::kRaw);
  }
  Result<void> check_step(const DecompressInto& step) {
    return check_source(step.source, ExtentKind::kLz4);
  }
  Result<void> check_source(const SourceExtent& source, ExtentKind kind) {
    if (source.depth >= input_.layers.size() || source.extent.kind != kind ||
        !inside(source.range, source.extent.range)) {
      return broken("the step for " + describe(source.range) + " does not fit its extent");
    }
    return {};
  }

  // The plan's region with `range`, which is_placed(); regions are the input's.
  [[nodiscard]] const RegionSpec& region_of(GpaRange range) const {
    return *std::find_if(plan_.regions.begin(), plan_.regions.end(),
                         [&](const RegionSpec& region) { return inside(range, region.range); });
  }

  // The ranges of the steps that `wanted` takes, in address order.
  template <typename Wanted>
  [[nodiscard]] GpaRanges ranges_of(Wanted wanted) const {
    GpaRanges ranges;
    for (const RestoreStep& step : plan_.steps) {
      if (wanted(step)) {
        ranges.push_back(range_of(step));
      }
    }
    std::sort(ranges.begin(), ranges.end(),
              [](const GpaRange& a, const GpaRange& b) { return a.begin < b.begin; });
    return ranges;
  }

  Result<void> check_disjoint(const GpaRanges& sorted, std::string_view what) {
    for (std::size_t i = 1; i < sorted.size(); ++i) {
      if (sorted[i].begin < sorted[i - 1].end()) {
        return broken(std::string(what) + " " + describe(sorted[i]));
      }
    }
    return {};
  }

  Result<void> check_filled() { return check_disjoint(ranges_of(fills), "two steps fill"); }

  Result<void> check_missing() {
    const auto is_missing = [](const RestoreStep& step) {
      return std::holds_alternative<ServeMissing>(step);
    };
    const GpaRanges missing = ranges_of(is_missing);
    STASIS_TRY(check_disjoint(missing, "two steps serve"));
    const GpaRanges others = normalize(ranges_of(std::not_fn(is_missing)));
    if (const GpaRanges both = intersect(missing, others); !both.empty()) {
      return broken("missing pages of " + describe(both.front()) + " have another step, too");
    }
    if (!missing.empty() &&
        (plan_.faults.handlers == 0 || plan_.faults.handlers > kFaultHandlersMax ||
         plan_.faults.window_pages == 0 || plan_.faults.window_pages > kFaultWindowPagesMax)) {
      return broken("faults served by " + std::to_string(plan_.faults.handlers) +
                    " threads in windows of " + std::to_string(plan_.faults.window_pages) +
                    " pages");
    }
    return {};
  }

  Result<void> check_brought_in() {
    for (const PopulatePiece& piece : plan_.populate) {
      STASIS_TRY(check_brought_in(piece.range, "populating "));
    }
    if (!plan_.fetch) {
      return {};
    }
    if (plan_.fetch->threads == 0 || plan_.fetch->threads > kFaultHandlersMax) {
      return broken("fetching by " + std::to_string(plan_.fetch->threads) + " threads");
    }
    for (const GpaRange& range : plan_.fetch->ranges) {
      STASIS_TRY(check_brought_in(range, "fetching "));
    }
    return {};
  }

  Result<void> check_brought_in(GpaRange range, std::string_view what) {
    const std::uint64_t unit = input_.host_page_size_bytes;
    if (!is_placed(range) || range.size == 0 || !is_aligned(range.begin.value, unit) ||
        !is_aligned(range.size, unit)) {
      return broken(std::string(what) + describe(range) +
                    ": not whole pages of the host in one region");
    }
    return {};
  }

  const RestorePlan& plan_;
  const PlanInput& input_;
};

}  // namespace

std::string_view name_of(ReadAhead read_ahead) {
  switch (read_ahead) {
    case ReadAhead::kNormal:
      return "normal";
    case ReadAhead::kRandom:
      return "random";
    case ReadAhead::kSequential:
      return "sequential";
    case ReadAhead::kWillNeed:
      return "will_need";
  }
  return "unknown read-ahead";
}

std::string_view name_of(PayloadAccess access) {
  switch (access) {
    case PayloadAccess::kBuffered:
      return "buffered";
    case PayloadAccess::kDirect:
      return "direct";
  }
  return "unknown access";
}

std::string_view name_of(ZeroPages zero_pages) {
  switch (zero_pages) {
    case ZeroPages::kKernel:
      return "kernel";
    case ZeroPages::kHandler:
      return "handler";
  }
  return "unknown provider";
}

PlanSummary summarize(const RestorePlan& plan) {
  PlanSummary summary;
  for (const RestoreStep& step : plan.steps) {
    if (std::holds_alternative<MapPrivateFile>(step)) {
      ++summary.mappings;
      summary.mapped_bytes += range_of(step).size;
    } else if (const auto* zero = std::get_if<Zero>(&step)) {
      summary.mappings += zero->by == ZeroBy::kMapping ? 1U : 0U;
    } else if (std::holds_alternative<ServeMissing>(step)) {
      summary.missing_bytes += range_of(step).size;
    } else {
      summary.filled_bytes += range_of(step).size;
    }
  }
  GpaRanges populated;
  for (const PopulatePiece& piece : plan.populate) {
    populated.push_back(piece.range);
  }
  summary.populated_bytes = total_bytes(normalize(std::move(populated)));
  summary.fetched_bytes = plan.fetch ? total_bytes(normalize(plan.fetch->ranges)) : 0;
  return summary;
}

Result<void> check_plan(const RestorePlan& plan, const PlanInput& input) {
  return PlanChecker(plan, input).check();
}

}  // namespace stasis::snapshot
