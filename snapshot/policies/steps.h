// What policies are made of. Private to snapshot/policies/.
#pragma once

#include <string_view>

#include "snapshot/policies/policy_catalog.h"
#include "snapshot/policies/policy_spec.h"

namespace stasis::snapshot::internal {

// Regions as they were, except that files become anonymous memory (the policy maps files itself)
// and huge pages are as the options say. No steps.
RestorePlan empty_plan(std::string_view policy, const PlanInput& input,
                       const PolicyOptions& options);

// Makes reserved huge pages transparent ones and notes why.
void avoid_reserved_huge_pages(RestorePlan& plan, std::string_view why);

// Appends the step that fills source.range; none for a zero extent.
void append_fill(const SourceExtent& source, RestorePlan& plan);

// One for each Underlay: all but what is brought in before it is touched.
RestorePlan plan_filled(const PolicySpec& spec, const PlanInput& input,
                        const PolicyOptions& options);
RestorePlan plan_mapped(const PolicySpec& spec, const PlanInput& input,
                        const PolicyOptions& options);
RestorePlan plan_missing(const PolicySpec& spec, const PlanInput& input,
                         const PolicyOptions& options);

// Adds what the record names to `plan`, as `prefetch` says. Notes what it lacks.
void add_prefetch(const PrefetchSpec& prefetch, const PlanInput& input, RestorePlan& plan);

}  // namespace stasis::snapshot::internal
