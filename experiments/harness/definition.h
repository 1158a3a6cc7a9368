// What makes an experiment: a name, cells, checks, and the trials that only it makes. A new one is
// a folder beside the others that offers a Definition, and a line in experiments/catalog.cc.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/capabilities.h"
#include "core/result.h"
#include "experiments/experiment.h"
#include "experiments/harness/driver.h"
#include "experiments/harness/figure.h"
#include "experiments/harness/summary.h"
#include "experiments/harness/trial.h"
#include "experiments/harness/workload.h"

namespace stasis::experiments {

// What the cells are made from. Value.
struct Design {
  Workload workload;
  Capabilities capabilities;  // Of the backend: which trackers and policies there are.
  Selection selection;        // Names that exist and work here, and only of kinds that are taken.
};

// A kind of trial, which `stasis-trial` makes in a process of its own. Value.
struct TrialKind {
  std::string_view name;  // TrialRequest::kind.
  Result<TrialReply> (*make)(const TrialRequest& request);
};

// Static data.
struct Definition {
  std::string_view name;      // "restore_latency"
  std::string_view question;  // What it answers, in one sentence.
  std::string_view takes;     // How long and how much disk.
  bool takes_policies = false, takes_trackers = false, takes_profiles = false;
  // kNotSupported with the reason where this backend or this host cannot do it. Pure.
  Result<Experiment> (*design)(const Design& design);
  // The acceptance inequalities, by the rows of a run alone; null: none. Pure.
  std::vector<CheckOutcome> (*check)(const Plan& plan, const RowTable& table) = nullptr;
  std::span<const TrialKind> trials = {};  // Beside those of trials/trial_kinds.h.
  std::span<const Figure> figures = {};    // Of its reports, beside the bars that all have.
};

}  // namespace stasis::experiments
