// The policy of a restore that left the choice to us. Private to session/.
#pragma once

#include "core/capabilities.h"
#include "core/result.h"
#include "session/options.h"
#include "snapshot/policies/policy_spec.h"
#include "snapshot/snapshot_chain.h"

namespace stasis::session::internal {

// options.policy as snapshot::load_policy() takes it; "auto" is chosen from the snapshot, its
// record and this host, and options.explain is told why.
Result<snapshot::PolicySpec> policy_for(const snapshot::SnapshotChain& chain,
                                        const Capabilities& capabilities,
                                        const RestoreOptions& options);

// What policies decide by. Of the two records of a run the one that the policy would rather have is
// read; the other one only if there is none. One that cannot be used costs a warning and time.
snapshot::PlanInput plan_input(const snapshot::SnapshotChain& chain,
                               const snapshot::PolicySpec& policy, const RestoreOptions& options);

}  // namespace stasis::session::internal
