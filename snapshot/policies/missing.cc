// Missing memory: every stored page comes when it is touched. Pages of zeros come from the kernel,
// which is several times as fast as a handler, where that leaves few enough pieces to register:
// each is a mapping of its own to the kernel.
#include <algorithm>
#include <string>
#include <vector>

#include "core/text.h"
#include "snapshot/policies/steps.h"

namespace stasis::snapshot::internal {
namespace {

// Whether extent i is left to the kernel. The largest are, at most options.mappings_max.
std::vector<bool> left_to_kernel(const PlanInput& input, const FaultService& faults,
                                 const PolicyOptions& options, RestorePlan& plan) {
  std::vector<bool> left(input.extents.size(), false);
  if (faults.zero_pages == ZeroPages::kHandler) {
    return left;
  }
  std::vector<std::size_t> zeros;
  for (std::size_t i = 0; i < input.extents.size(); ++i) {
    if (input.extents[i].extent.kind == ExtentKind::kZero) {
      zeros.push_back(i);
    }
  }
  std::stable_sort(zeros.begin(), zeros.end(), [&](std::size_t a, std::size_t b) {
    return input.extents[a].range.size > input.extents[b].range.size;
  });
  const std::size_t kept = std::min<std::size_t>(zeros.size(), options.mappings_max);
  for (std::size_t i = 0; i < kept; ++i) {
    left[zeros[i]] = true;
  }
  if (kept != zeros.size()) {
    plan.notes.push_back(std::to_string(zeros.size() - kept) + " of " +
                         std::to_string(zeros.size()) +
                         " pieces of zeros come from the handler, because there are more than " +
                         std::to_string(options.mappings_max));
  }
  return left;
}

}  // namespace

RestorePlan plan_missing(const PolicySpec& spec, const PlanInput& input,
                         const PolicyOptions& options) {
  RestorePlan plan = empty_plan(spec.name, input, options);
  if (spec.prefetch && spec.prefetch->by == PrefetchBy::kMove) {
    for (RegionSpec& region : plan.regions) {
      region.backing = BackingKind::kAnonymous;  // Pages can be moved to no other.
    }
  }
  avoid_reserved_huge_pages(plan, "missing pages of reserved ones are not served");
  plan.faults = spec.faults;
  const std::vector<bool> left = left_to_kernel(input, spec.faults, options, plan);
  for (std::size_t i = 0; i < input.extents.size(); ++i) {
    if (!left[i]) {
      plan.steps.emplace_back(ServeMissing{input.extents[i]});
    }
  }
  return plan;
}

}  // namespace stasis::snapshot::internal
