// Restore: parse -> validate -> plan -> apply. A VM is restored wholly, or nothing is left of it.
//
//   SnapshotChain::open()   parses and validates the manifests
//   plan_input(chain)       what policies decide by
//   make_plan(policy, ...)  snapshot/policies/: pure
//   restore(...)            checks that it fits the host, then creates memory, fills it, creates
//                           the VM
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "core/hypervisor.h"
#include "core/machine.h"
#include "core/milestones.h"
#include "core/result.h"
#include "snapshot/access_trace.h"
#include "snapshot/progress.h"
#include "snapshot/restore/plan.h"
#include "snapshot/restore/requirements.h"
#include "snapshot/snapshot_chain.h"

namespace stasis::snapshot {

PlanInput plan_input(const SnapshotChain& chain);

// Value.
struct RestoreOptions {
  StartMode start = StartMode::kPaused;
  CpuCheck cpu = CpuCheck::kEnforce;
  std::vector<int> host_cpus = {};  // As MachineConfig::host_cpus.
  // kBegin and kHeader are the caller's; kPrefetched is recorded when the plan's filling is done,
  // the others by the Machine. Borrowed, may be null.
  MilestoneLog* milestones = nullptr;
  Supervision supervision = {};  // Of the filling, which can take long.
  // Takes note of the touches of missing pages. Outlives the Machine; may be null.
  AccessRecorder* recorder = nullptr;
  // Called when memory is complete and before any vCPU exists, to change what the guest will find
  // (a request in its mailbox, a new generation id). An error ends the restore. May be empty.
  std::function<Result<void>(GuestMemory&, MachineState&)> before_start = {};
};

// Executes `plan`, made from `input`, which is plan_input() of this chain. `shell`: as for
// Machine::create(); begun before the chain is read, it saves a restore the time that creating a VM
// takes. `chain` and its files may be closed afterwards: mappings
// keep what they need. Errors: kMismatch (see check_requirements), kInvalidArgument (a plan that
// breaks its rules), kCorruption and kIo (payload; the message names file, offset and guest
// address), and those of Machine::create(). On any error everything that was created is destroyed.
Result<std::unique_ptr<Machine>> restore(const SnapshotChain& chain, const PlanInput& input,
                                         const RestorePlan& plan, HypervisorBackend& backend,
                                         std::unique_ptr<DeviceBus> bus,
                                         const RestoreOptions& options,
                                         std::unique_ptr<MachineShell> shell = nullptr);

// The memory half of restore() alone, for measurements and tests: regions created, mapped, filled.
Result<std::unique_ptr<GuestMemory>> restore_memory(const SnapshotChain& chain,
                                                    const RestorePlan& plan, const PlanInput& input,
                                                    const Supervision& supervision = {},
                                                    AccessRecorder* recorder = nullptr);

}  // namespace stasis::snapshot
