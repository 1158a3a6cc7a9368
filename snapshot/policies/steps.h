// What policies have in common. Private to snapshot/policies/.
#pragma once

#include <string_view>

#include "snapshot/policies/policy_catalog.h"

namespace stasis::snapshot::internal {

// Regions as they were, except that files become anonymous memory (the policy maps files itself)
// and huge pages are as the options say. No steps.
RestorePlan empty_plan(std::string_view policy, const PlanInput& input,
                       const PolicyOptions& options);

// Appends the step that fills source.range; none for a zero extent.
void append_fill(const SourceExtent& source, RestorePlan& plan);

}  // namespace stasis::snapshot::internal
