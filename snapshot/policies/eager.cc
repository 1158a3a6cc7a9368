#include "snapshot/policies/policy_catalog.h"
#include "snapshot/policies/steps.h"

namespace stasis::snapshot {

RestorePlan plan_eager(const PlanInput& input, const PolicyOptions& options) {
  RestorePlan plan = internal::empty_plan("eager", input, options);
  for (const SourceExtent& source : input.extents) {
    internal::append_fill(source, plan);  // Fresh memory is zero: zero extents need no step.
  }
  return plan;
}

}  // namespace stasis::snapshot
