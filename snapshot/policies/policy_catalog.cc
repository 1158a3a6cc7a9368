#include "snapshot/policies/policy_catalog.h"

#include "snapshot/policies/policy_file.h"
#include "snapshot/policies/steps.h"
#include "snapshot/restore/requirements.h"

namespace stasis::snapshot {
namespace {

RestorePlan plan_memory(const PolicySpec& spec, const PlanInput& input,
                        const PolicyOptions& options) {
  switch (spec.memory) {
    case Underlay::kFilled:
      return internal::plan_filled(spec, input, options);
    case Underlay::kMapped:
      return internal::plan_mapped(spec, input, options);
    case Underlay::kMissing:
      break;
  }
  return internal::plan_missing(spec, input, options);
}

}  // namespace

Availability probe_policy(const PolicySpec& spec, const Capabilities& capabilities) {
  Availability here{spec.name, true, "", ""};
  if (spec.memory == Underlay::kMissing) {
    here = spec.prefetch && spec.prefetch->by == PrefetchBy::kMove
               ? probe_moved_pages(capabilities)
               : probe_missing_pages(capabilities);
    here.name = spec.name;
  }
  return here;
}

std::vector<Availability> list_policies(const Capabilities& capabilities) {
  std::vector<Availability> policies;
  policies.reserve(named_policies().size());
  for (const NamedPolicy& policy : named_policies()) {
    const auto spec = find_policy(policy.name);
    STASIS_CHECK(spec.has_value());  // The files of this program; a test reads them all.
    policies.push_back(probe_policy(*spec, capabilities));
  }
  return policies;
}

Result<RestorePlan> make_plan(const PolicySpec& spec, const PlanInput& input,
                              const PolicyOptions& options) {
  STASIS_TRY(check_spec(spec));
  RestorePlan plan = plan_memory(spec, input, options);
  if (spec.prefetch) {
    internal::add_prefetch(*spec.prefetch, input, plan);
  }
  STASIS_TRY(check_plan(plan, input));
  return plan;
}

Result<RestorePlan> make_plan(std::string_view policy, const PlanInput& input,
                              const PolicyOptions& options) {
  STASIS_ASSIGN(const PolicySpec spec, find_policy(policy));
  return make_plan(spec, input, options);
}

}  // namespace stasis::snapshot
