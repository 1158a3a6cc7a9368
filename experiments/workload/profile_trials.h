// What trials with a profile's guest are made of.
//
//   prepare_profile  backend profile seed out                    a snapshot with its contents
//   record_profile   backend profile seed snapshot               its working set, beside the
//   snapshot invoke_profile   backend profile seed snapshot policy ...    a restore and the second
//   input characterize     backend profile seed snapshot out           what both inputs touched
//
// `profile` is the JSON of one.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "experiments/harness/cell_builder.h"
#include "experiments/harness/definition.h"
#include "experiments/workload/generator.h"
#include "session/session.h"

namespace stasis::experiments {

std::span<const TrialKind> profile_trials();

// A profile's guest answers so many requests for an input; all of them, and their hashes as one
// proof.
Result<std::string> ask_all(session::Session& guest, std::span<const Access> accesses);

// The parameters that all of these kinds have.
TrialRequest profile_request(std::string kind, const Profile& profile, std::uint64_t seed);

// Adds the snapshot of a profile's guest to what is made before the trials; returns its name. With
// `recorded`, its working set, too.
std::string add_profile_snapshot(CellBuilder& builder, const Profile& profile, std::uint64_t seed,
                                 bool recorded);

// The factors of a cell that say which accesses it makes: name, seed and sizes.
Factors profile_factors(const Profile& profile, std::uint64_t seed);

}  // namespace stasis::experiments
