// Session::restore: from a snapshot to a running machine. Everything between kBegin and the first
// instruction is latency, so what can wait (opening counters, labels) comes after the vCPUs run.
#include <algorithm>
#include <utility>

#include "session/policy_auto.h"
#include "session/session_impl.h"
#include "snapshot/access_trace.h"
#include "snapshot/restore/restorer.h"
#include "snapshot/snapshot_chain.h"

namespace stasis::session {

namespace {

// What the manifest tells the session, once the guest runs.
void take_facts(const snapshot::Manifest& manifest, const std::string& path,
                internal::SessionImpl::Parts& parts) {
  const internal::SavedPhase saved = internal::saved_phase(manifest);
  parts.will_ring = saved.is_held && parts.port->notes_resumption();
  parts.saved_ready = saved.is_ready;
  for (const snapshot::Label& label : manifest.labels) {
    if (label.key != internal::kPhaseLabel) {
      parts.labels.push_back(label);
    }
  }
  parts.restored = true;
  parts.parent = internal::Parent{.path = path, .id = manifest.id};
  parts.origin = parts.parent;
}

void take_facts(const snapshot::PolicySpec& policy, const snapshot::RestorePlan& plan,
                const snapshot::PlanSummary& summary, internal::SessionImpl::Parts& parts) {
  parts.filled_bytes = summary.filled_bytes;
  parts.mappings = summary.mappings;
  parts.fetched_bytes = summary.fetched_bytes;
  parts.to_populate = plan.populate;
  // What a policy that maps memory fills is little, and as good as touched.
  parts.shows_touches = policy.memory == snapshot::Underlay::kMapped && !policy.prefetch &&
                        std::ranges::all_of(plan.regions, [](const RegionSpec& region) {
                          return region.huge_pages == HugePages::kNever;
                        });
}

// Null where a VM cannot begin before the snapshot is read: it may have an interrupt controller.
Result<std::unique_ptr<MachineShell>> begin_shell(HypervisorBackend& backend,
                                                  const RestoreOptions& options,
                                                  MilestoneLog& milestones) {
  ShellConfig config{.vcpus_max = backend.capabilities().vcpus_max, .milestones = &milestones};
  STASIS_ASSIGN(
      config.dirty_ring_entries,
      snapshot::ring_entries_for(options.tracker, backend.capabilities(), options.tracker_options));
  if (!options.host_cpus.empty()) {
    config.host_cpu = options.host_cpus.front();
  }
  return backend.capabilities().interrupt_controller ? std::unique_ptr<MachineShell>()
                                                     : MachineShell::begin(backend, config);
}

Result<std::unique_ptr<snapshot::AccessRecorder>> make_recorder(
    const snapshot::PolicySpec& policy) {
  if (policy.memory != snapshot::Underlay::kMissing || policy.prefetch ||
      policy.faults.window_pages != 1) {
    return Error{Errc::kInvalidArgument, 0,
                 "policy '" + policy.name +
                     "' does not show every first touch of a page: record an access trace under "
                     "the policy uffd"};
  }
  return std::make_unique<snapshot::AccessRecorder>();
}

}  // namespace

Result<std::unique_ptr<Session>> Session::restore(HypervisorBackend& backend,
                                                  const std::string& snapshot_path,
                                                  const RestoreOptions& options) {
  internal::SessionImpl::Parts parts;
  parts.anchor = take_tsc_anchor();
  parts.milestones = std::make_unique<MilestoneLog>();
  MilestoneLog& milestones = *parts.milestones;
  if (options.spawned_at) {
    milestones.record_at(Milestone::kSpawn, *options.spawned_at);
  }
  milestones.record_at(Milestone::kBegin, options.begin_at.value_or(host_clock().now()));
  parts.usage = internal::process_usage();
  // The snapshot is read while the first vCPU is being created.
  STASIS_ASSIGN(std::unique_ptr<MachineShell> shell, begin_shell(backend, options, milestones));
  STASIS_ASSIGN(const std::unique_ptr<snapshot::SnapshotChain> chain,
                snapshot::SnapshotChain::open(snapshot::posix_file_system(), snapshot_path));
  milestones.record(Milestone::kHeader);
  const snapshot::Manifest& manifest = chain->manifest();
  STASIS_ASSIGN(const snapshot::PolicySpec policy,
                internal::policy_for(*chain, backend.capabilities(), options));
  const snapshot::PlanInput input = internal::plan_input(*chain, policy, options);
  STASIS_ASSIGN(const snapshot::RestorePlan plan,
                snapshot::make_plan(policy, input, options.policy_options));
  parts.console = std::make_shared<internal::ConsoleBuffer>(kConsoleBytesMax, options.console);
  STASIS_ASSIGN(internal::Devices devices,
                internal::make_saved_devices(manifest, parts.console, options.stale_files));
  parts.port = std::move(devices.port);
  snapshot::RestoreOptions restore_options;
  // A tracker has to be armed before the guest can write anything.
  restore_options.start = options.tracker.empty() ? options.start : StartMode::kPaused;
  restore_options.host_cpus = options.host_cpus;
  restore_options.milestones = &milestones;
  restore_options.supervision = {.progress = options.progress, .cancel = options.cancel};
  if (options.record_trace) {
    STASIS_ASSIGN(parts.recorder, make_recorder(policy));
    restore_options.recorder = parts.recorder.get();
  }
  if (options.sample_residency) {
    // When all is mapped and filled, and nothing has run.
    restore_options.before_start = [&](const GuestMemory& memory, MachineState&) -> Result<void> {
      STASIS_ASSIGN(parts.sampler, ResidencySampler::start(memory, *options.sample_residency));
      return {};
    };
  }
  STASIS_ASSIGN(std::unique_ptr<Machine> machine,
                snapshot::restore(*chain, input, plan, backend, std::move(devices.bus),
                                  restore_options, std::move(shell)));
  const snapshot::PlanSummary summary = snapshot::summarize(plan);
  if (summary.missing_bytes == 0 && !(plan.fetch && plan.fetch->concurrent)) {
    milestones.record(Milestone::kDone);  // Nothing is left to the background.
  }
  take_facts(manifest, snapshot_path, parts);
  take_facts(policy, plan, summary, parts);
  const bool started = restore_options.start == StartMode::kRunning;
  auto session = std::make_unique<internal::SessionImpl>(std::move(parts), std::move(machine));
  if (started) {
    session->note_running();
  }
  if (!options.tracker.empty()) {
    snapshot::TrackerOptions tracker_options = options.tracker_options;
    tracker_options.pages_are_missing = summary.missing_bytes != 0;
    STASIS_TRY(session->track(options.tracker, tracker_options));
    if (options.start == StartMode::kRunning) {
      STASIS_TRY(session->resume());
    }
  }
  return std::unique_ptr<Session>(std::move(session));
}

}  // namespace stasis::session
