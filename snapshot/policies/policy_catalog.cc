#include "snapshot/policies/policy_catalog.h"

#include <array>

namespace stasis::snapshot {
namespace {

struct Policy {
  std::string_view name;
  RestorePlan (*plan)(const PlanInput&, const PolicyOptions&);
};

constexpr std::array<Policy, 3> kPolicies{
    {{"eager", plan_eager}, {"lazy", plan_lazy}, {kWorkingSetPolicy, plan_working_set}}};

}  // namespace

std::vector<Availability> list_policies(const Capabilities&) {
  // All need nothing of a backend but that it runs guests in ordinary host memory.
  std::vector<Availability> policies;
  policies.reserve(kPolicies.size());
  for (const Policy& policy : kPolicies) {
    policies.push_back({std::string(policy.name), true, "", ""});
  }
  return policies;
}

Result<RestorePlan> make_plan(std::string_view policy, const PlanInput& input,
                              const PolicyOptions& options) {
  std::string names;
  for (const Policy& candidate : kPolicies) {
    if (candidate.name == policy) {
      RestorePlan plan = candidate.plan(input, options);
      STASIS_TRY(check_plan(plan, input));
      return plan;
    }
    names += names.empty() ? "" : ", ";
    names += candidate.name;
  }
  return Error{Errc::kInvalidArgument, 0,
               "no restore policy is called '" + std::string(policy) + "'; there are: " + names};
}

}  // namespace stasis::snapshot
