#include <utility>

#include "experiments/catalog.h"
#include "experiments/trials/trial_kinds.h"
#include "experiments/workload/profile_trials.h"

namespace stasis::experiments {
namespace {

const TrialKind* find_kind(std::span<const TrialKind> kinds, const std::string& name) {
  for (const TrialKind& kind : kinds) {
    if (kind.name == name) {
      return &kind;
    }
  }
  return nullptr;
}

const TrialKind* find_kind(const std::string& name) {
  for (const std::span<const TrialKind> shared :
       {floor_trials(), guest_trials(), profile_trials()}) {
    if (const TrialKind* kind = find_kind(shared, name)) {
      return kind;
    }
  }
  for (const Definition* definition : all_experiments()) {
    if (const TrialKind* kind = find_kind(definition->trials, name)) {
      return kind;
    }
  }
  return nullptr;
}

}  // namespace

TrialReply run_trial(const TrialRequest& request) {
  const TrialKind* kind = find_kind(request.kind);
  if (kind == nullptr) {
    return {.error = "trial kind '" + request.kind + "' is not known"};
  }
  Result<TrialReply> reply = kind->make(request);
  return reply ? std::move(*reply) : TrialReply{.error = std::move(reply).error().to_string()};
}

}  // namespace stasis::experiments
