#include "snapshot/policies/steps.h"

#include <string>

#include "core/text.h"

namespace stasis::snapshot::internal {

RestorePlan empty_plan(std::string_view policy, const PlanInput& input,
                       const PolicyOptions& options) {
  RestorePlan plan;
  plan.policy = std::string(policy);
  plan.threads = options.threads;
  plan.verify = options.verify;
  for (const ManifestRegion& region : input.regions) {
    const bool memfd = region.backing == BackingKind::kMemfd;
    plan.regions.push_back({region.range,
                            memfd ? BackingKind::kMemfd : BackingKind::kAnonymous,
                            options.huge_pages,
                            {}});
  }
  return plan;
}

void avoid_reserved_huge_pages(RestorePlan& plan, std::string_view why) {
  for (RegionSpec& region : plan.regions) {
    if (region.huge_pages == HugePages::kHugetlb) {
      region.huge_pages = HugePages::kTransparent;
      plan.notes.push_back("guest memory " + describe(region.range) +
                           " uses transparent huge pages: " + std::string(why));
    }
  }
}

void append_fill(const SourceExtent& source, RestorePlan& plan) {
  switch (source.extent.kind) {
    case ExtentKind::kRaw:
      plan.steps.emplace_back(ReadInto{source});
      return;
    case ExtentKind::kLz4:
      plan.steps.emplace_back(DecompressInto{source});
      return;
    case ExtentKind::kZero:
    case ExtentKind::kInherited:  // Not in resolved extents; check_plan() would not miss it either.
      return;
  }
}

}  // namespace stasis::snapshot::internal
