#include "snapshot/policies/steps.h"

namespace stasis::snapshot::internal {

RestorePlan plan_filled(const PolicySpec& spec, const PlanInput& input,
                        const PolicyOptions& options) {
  RestorePlan plan = empty_plan(spec.name, input, options);
  for (const SourceExtent& source : input.extents) {
    append_fill(source, plan);  // Fresh memory is zero: zero extents need no step.
  }
  return plan;
}

}  // namespace stasis::snapshot::internal
