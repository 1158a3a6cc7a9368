// Putting a session's guest back to its snapshot, in place.
#include <utility>

#include "session/session_impl.h"

namespace stasis::session::internal {

namespace {

constexpr std::chrono::nanoseconds kPauseTimeout = std::chrono::seconds(10);

}  // namespace

SavedPhase saved_phase(const snapshot::Manifest& manifest) {
  SavedPhase phase;
  for (const snapshot::Label& label : manifest.labels) {
    if (label.key == kPhaseLabel) {
      phase.is_held = label.value == kPhaseHeld;
      phase.is_ready = phase.is_held || label.value == kPhaseReady;
    }
  }
  return phase;
}

Result<void> SessionImpl::check_can_reset() const {
  STASIS_TRY(check_no_live_save("reset the guest"));
  if (!parts_.parent) {
    return Error{Errc::kInvalidArgument, 0,
                 "reset the guest: it was neither restored from a snapshot nor saved, so there is "
                 "nothing to reset it to"};
  }
  if (!parts_.port->can_be_loaded_again()) {
    return Error{Errc::kNotSupported, 0,
                 "reset the guest to '" + parts_.parent->path +
                     "': a Linux guest is restored into a new VM: the hypervisor remembers the "
                     "page tables of one that has run; restore it anew"};
  }
  if (!accumulator_ || missed_writes_) {
    return Error{Errc::kInvalidArgument, 0,
                 "reset the guest to '" + parts_.parent->path + "': " +
                     (accumulator_ ? "its dirty tracker was armed when it had run already"
                                   : "no dirty tracker is armed") +
                     ", so what it has written is not known; name a tracker when it is restored or "
                     "saved"};
  }
  return {};
}

Result<void> SessionImpl::prepare_reset() {
  if (reset_ && reset_->to == parts_.parent->id) {
    return {};
  }
  STASIS_ASSIGN(const std::unique_ptr<snapshot::SnapshotChain> chain,
                open_parent("reset the guest"));
  Reset reset{.to = parts_.parent->id, .phase = saved_phase(chain->manifest())};
  STASIS_ASSIGN(reset.resetter, snapshot::Resetter::create(*machine_, *accumulator_, *chain));
  reset_.emplace(std::move(reset));
  return {};
}

Result<snapshot::ResetReport> SessionImpl::reset() {
  STASIS_TRY(check_can_reset());
  STASIS_TRY(machine_->pause(kPauseTimeout));
  if (Result<void> prepared = prepare_reset(); !prepared) {
    // Whoever asked for it counts on it.
    Error why = prepared.error();
    machine_->condemn(
        std::move(why).with_context("the guest cannot go on, because it was not reset"));
    return std::move(prepared).error();
  }
  STASIS_ASSIGN(const snapshot::ResetReport report, reset_->resetter->reset());
  phase_ = reset_->phase.is_ready ? GuestPhase::kReady : GuestPhase::kStarting;
  held_ = false;
  exit_code_.reset();
  ending_signal_.reset();
  checkpoints_.clear();
  responded_.clear();
  requested_.clear();
  ran_since_parent_ = false;
  return report;
}

}  // namespace stasis::session::internal
