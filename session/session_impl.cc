#include "session/session_impl.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace stasis::session::internal {

namespace {

constexpr std::chrono::nanoseconds kPauseTimeout = std::chrono::seconds(10);

constexpr std::uint64_t kSignalMax = 64;

std::int64_t to_ns(const timeval& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 +
         static_cast<std::int64_t>(time.tv_usec) * 1'000;
}

// Saturates, so that "for ever" can be asked for.
MonotonicNs deadline_after(std::chrono::nanoseconds timeout) {
  const MonotonicNs now = host_clock().now();
  return timeout.count() > INT64_MAX - now ? INT64_MAX : now + timeout.count();
}

}  // namespace

ProcessUsage process_usage() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return {.minor_faults = static_cast<std::uint64_t>(usage.ru_minflt),
          .major_faults = static_cast<std::uint64_t>(usage.ru_majflt),
          .user_cpu_ns = to_ns(usage.ru_utime),
          .system_cpu_ns = to_ns(usage.ru_stime)};
}

SessionImpl::SessionImpl(Parts parts, std::unique_ptr<Machine> machine)
    : parts_(std::move(parts)), machine_(std::move(machine)) {
  if (parts_.saved_ready) {
    phase_ = GuestPhase::kReady;
  }
}

// Disarming needs every vCPU out of the guest.
SessionImpl::~SessionImpl() {
  live_.reset();
  reset_.reset();
  if (machine_ != nullptr && accumulator_ && machine_->pause(kPauseTimeout)) {
    static_cast<void>(accumulator_->disarm());
  }
}

Result<void> SessionImpl::note(const MachineEvent& event) {
  switch (event.kind) {
    case MachineEvent::Kind::kReady:
      phase_ = GuestPhase::kReady;
      held_ = true;
      return {};
    case MachineEvent::Kind::kResponse:
      parts_.milestones->record_at(Milestone::kFirstResponse, event.at);
      note_first_instruction();
      responded_.push_back(event.at);
      return note_residency(event.at);
    case MachineEvent::Kind::kCheckpoint:
      checkpoints_.push_back(event.value);
      held_ = true;
      return {};
    case MachineEvent::Kind::kExit:
      phase_ = GuestPhase::kExited;
      exit_code_ = event.value;
      held_ = true;
      return {};
    case MachineEvent::Kind::kHalted:
      return Error{Errc::kGuestFault, 0, "every vCPU of the guest has halted without exiting"};
    case MachineEvent::Kind::kGuestFailed:
      // From a snapshot, hence as hostile as the rest of it: signal(7) has 64.
      if (event.value > 0 && event.value <= kSignalMax) {
        ending_signal_ = static_cast<int>(event.value);
      }
      return Error{Errc::kGuestFault, 0, "guest: " + event.message};
    case MachineEvent::Kind::kHostFailed:
      return Error{Errc::kBackend, 0, event.message};
  }
  return Error{Errc::kBackend, 0, "an event of an unknown kind"};
}

Result<void> SessionImpl::take_event(MonotonicNs deadline) {
  const MonotonicNs now = host_clock().now();
  const std::chrono::nanoseconds left(deadline > now ? deadline - now : 0);
  STASIS_ASSIGN(const MachineEvent event, machine_->wait_event(left));
  return note(event);
}

Result<void> SessionImpl::release() {
  if (phase_ == GuestPhase::kExited || (!held_ && !machine_->is_paused())) {
    return {};
  }
  return resume();
}

Error SessionImpl::exited_instead(std::string_view of_what) const {
  return Error{Errc::kGuestFault, 0,
               "the guest exited with code " + std::to_string(exit_code_.value_or(0)) +
                   " instead of " + std::string(of_what)};
}

Result<void> SessionImpl::wait_ready(std::chrono::nanoseconds timeout) {
  const MonotonicNs deadline = deadline_after(timeout);
  if (phase_ == GuestPhase::kStarting) {
    STASIS_TRY(release());
  }
  while (phase_ == GuestPhase::kStarting) {
    STASIS_TRY(take_event(deadline));
  }
  if (phase_ == GuestPhase::kExited) {
    return exited_instead("becoming ready");
  }
  return {};
}

Result<Response> SessionImpl::request(std::span<const std::byte> bytes,
                                      std::chrono::nanoseconds timeout) {
  if (phase_ == GuestPhase::kExited) {
    return exited_instead("answering a request");
  }
  const MonotonicNs now = host_clock().now();
  ran_since_parent_ = true;
  if (parts_.recorder != nullptr) {
    parts_.recorder->begin_phase(snapshot::TracePhase::kRequest);
  }
  // Into the mailbox before the guest runs again, so that it need not wait for it.
  STASIS_TRY(parts_.port->post_request(machine_->device_host(), bytes));
  requested_.push_back(now);
  ++requests_;
  STASIS_TRY(release());
  STASIS_TRY(populate());
  return take_response(timeout);
}

Result<void> SessionImpl::populate() {
  const std::vector<PopulatePiece> pieces = std::exchange(parts_.to_populate, {});
  if (accumulator_) {
    return {};  // It might take the pages for written ones.
  }
  for (const PopulatePiece& piece : pieces) {
    if (!responded_.empty() || phase_ == GuestPhase::kExited) {
      return {};  // Faster than that: it needs no more.
    }
    STASIS_TRY(machine_->memory().populate(piece));
    populated_bytes_ += piece.range.size;
    Result<void> event = take_event(0);
    if (!event && event.error().code != Errc::kTimeout) {
      return event;
    }
  }
  return {};
}

Result<Response> SessionImpl::take_response(std::chrono::nanoseconds timeout) {
  if (requested_.empty()) {
    return Error{Errc::kInvalidArgument, 0, "no request is without an answer"};
  }
  const MonotonicNs deadline = deadline_after(timeout);
  while (responded_.empty()) {
    if (phase_ == GuestPhase::kExited) {
      return exited_instead("answering a request");
    }
    STASIS_TRY(release());  // A checkpoint on the way holds the guest.
    STASIS_TRY(take_event(deadline));
  }
  Response response{.requested_at = requested_.front(), .responded_at = responded_.front()};
  STASIS_ASSIGN(response.bytes, parts_.port->take_response());
  requested_.pop_front();
  responded_.pop_front();
  return response;
}

// The vCPU that answers requests, and notes when it resumed, is the first.
std::optional<CounterRelation> SessionImpl::counter_relation() {
  switch (machine_->capabilities().clock_policy) {
    case ClockPolicy::kHostCounter:
      return kSameCounter;
    case ClockPolicy::kInstructions:
      return std::nullopt;
    case ClockPolicy::kGuestContinues:
      break;
  }
  Result<CounterRelation> relation = machine_->counter_relation(0, kPauseTimeout);
  return relation ? std::optional(*relation) : std::nullopt;
}

void SessionImpl::note_first_instruction() {
  if (!parts_.restored || !parts_.anchor || parts_.milestones->at(Milestone::kFirstInstruction)) {
    return;
  }
  const std::optional<std::uint64_t> counter = parts_.port->first_resumed_counter();
  const std::optional<TscAnchor> now = take_tsc_anchor();
  if (!counter || !now) {
    return;
  }
  // Only now, when all is measured: a guest with a counter of its own is stopped for it.
  const std::optional<CounterRelation> relation = counter_relation();
  if (!relation) {
    return;
  }
  // A counter from before the restore lies outside the anchors.
  if (const auto converted = convert_guest_tsc(*counter, *relation, *parts_.anchor, *now)) {
    parts_.milestones->record_at(Milestone::kFirstInstruction, converted->at);
    first_instruction_error_ns_ = converted->error_ns;
  }
}

Result<void> SessionImpl::settle(std::chrono::nanoseconds timeout) {
  const MonotonicNs deadline = deadline_after(timeout);
  // There is no event for a guest that has begun to wait: this looks every now and then, after all
  // that is measured.
  while (parts_.will_ring && !parts_.port->first_resumed_counter() &&
         host_clock().now() < deadline) {
    const MonotonicNs next = deadline_after(std::chrono::microseconds(50));
    Result<void> outcome = take_event(std::min(deadline, next));
    if (!outcome && outcome.error().code != Errc::kTimeout) {
      return outcome;
    }
  }
  note_first_instruction();
  return note_residency(host_clock().now());
}

Result<void> SessionImpl::note_residency(MonotonicNs at) {
  if (parts_.sampler == nullptr) {
    return {};
  }
  const std::unique_ptr<ResidencySampler> sampler = std::move(parts_.sampler);
  STASIS_ASSIGN(const std::vector<ResidencySample> samples, sampler->stop());
  ResidencyReport report;
  report.samples = samples.size();
  report.page_bytes = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  report.resident_pages = samples.back().resident_pages;
  const MonotonicNs begin = parts_.milestones->at(Milestone::kBegin).value_or(at);
  if (const auto moment = moment_of_share(samples, begin, 90)) {
    // The last look was after `at`, and the guest waited meanwhile.
    const std::int64_t late = moment->at > at ? moment->at - at : 0;
    parts_.milestones->record_at(Milestone::kResidentP90, moment->at - late);
    report.error_ns = moment->error_ns - std::min(late, moment->error_ns);
  }
  residency_ = report;
  return {};
}

Result<std::uint64_t> SessionImpl::wait_exit(std::chrono::nanoseconds timeout) {
  const MonotonicNs deadline = deadline_after(timeout);
  while (phase_ != GuestPhase::kExited) {
    STASIS_TRY(release());
    STASIS_TRY(take_event(deadline));
  }
  return *exit_code_;
}

Result<std::uint64_t> SessionImpl::wait_checkpoint(std::chrono::nanoseconds timeout) {
  const MonotonicNs deadline = deadline_after(timeout);
  while (checkpoints_.empty()) {
    if (phase_ == GuestPhase::kExited) {
      return exited_instead("reaching a checkpoint");
    }
    STASIS_TRY(release());
    STASIS_TRY(take_event(deadline));
  }
  const std::uint64_t value = checkpoints_.front();
  checkpoints_.pop_front();
  return value;
}

Result<void> SessionImpl::pause(std::chrono::nanoseconds timeout) {
  return machine_->pause(timeout);
}

Result<void> SessionImpl::resume() {
  held_ = false;
  ran_since_parent_ = true;
  return machine_->resume();
}

Result<SessionCounters> SessionImpl::counters() {
  const bool was_running = !machine_->is_paused();
  STASIS_TRY(machine_->pause(kPauseTimeout));
  const ProcessUsage usage = process_usage();
  SessionCounters counters{.machine = machine_->counters(),
                           .requests = requests_,
                           .minor_faults = usage.minor_faults - parts_.usage.minor_faults,
                           .major_faults = usage.major_faults - parts_.usage.major_faults,
                           .filled_bytes = parts_.filled_bytes,
                           .mappings = parts_.mappings,
                           .populated_bytes = populated_bytes_,
                           .fetched_bytes = parts_.fetched_bytes,
                           .user_cpu_ns = usage.user_cpu_ns - parts_.usage.user_cpu_ns,
                           .system_cpu_ns = usage.system_cpu_ns - parts_.usage.system_cpu_ns};
  if (const auto* process = parts_.port->linux_process(); process != nullptr) {
    counters.linux_guest = LinuxCounters{process->counters(), process->kernel().counts()};
  }
  if (was_running && !held_) {
    STASIS_TRY(machine_->resume());
  }
  return counters;
}

}  // namespace stasis::session::internal
