// VcpuThread's life inside the guest: entries, and what each exit means.
#include <string>
#include <utility>
#include <variant>

#include "core/clock.h"
#include "core/text.h"
#include "core/vcpu_thread.h"

namespace stasis::internal {

class VcpuThread::ExitVisitor {
 public:
  ExitVisitor(VcpuThread& thread, WriteFaultHandler* handler)
      : thread_(thread), handler_(handler) {}

  Next operator()(const ExitIoRead& exit) { return thread_.read_device(exit.access); }
  Next operator()(const ExitIoWrite& exit) { return thread_.write_device(exit.access, exit.data); }
  Next operator()(const ExitWriteProtected& exit) {
    return thread_.write_fault(exit.gpa, handler_);
  }
  Next operator()(const ExitMissingPage& exit) {
    return thread_.fail(MachineEvent::Kind::kHostFailed,
                        {Errc::kNotSupported, 0,
                         "the guest touched the missing page at " + hex(exit.gpa.value) +
                             " and nobody provides pages"});
  }
  Next operator()(const ExitHalted&) { return thread_.halt(); }
  Next operator()(const ExitCanceled&) { return thread_.canceled(); }
  Next operator()(const ExitShutdown& exit) { return thread_.shut_down(exit.kind); }
  Next operator()(const ExitFailed& exit) {
    return thread_.fail(MachineEvent::Kind::kGuestFailed, {Errc::kGuestFault, 0, exit.reason});
  }

 private:
  VcpuThread& thread_;
  WriteFaultHandler* handler_;
};

void VcpuThread::run_in_guest(WriteFaultHandler* handler) {
  if (counters_.entries == 0 && context_.milestones != nullptr) {
    context_.milestones->record(Milestone::kVcpuEnter);
  }
  Next next = Next::kEnterGuest;
  if (Result<void> prepared = before_entry(); !prepared) {
    next = fail(MachineEvent::Kind::kHostFailed, std::move(prepared).error());
  }
  if (next == Next::kEnterGuest) {
    next = check_memory();
  }
  while (next == Next::kEnterGuest) {
    ++counters_.entries;
    next = handle(vcpu_->run(), handler);
  }
}

void VcpuThread::step_in_guest(WriteFaultHandler* handler, std::uint64_t instructions) {
  const std::uint64_t begin = vcpu_->instructions_retired();
  std::uint64_t retired = 0;
  while (retired < instructions) {
    ++counters_.entries;
    const Result<VcpuExit> exit = vcpu_->run_for(instructions - retired);
    const bool is_limit = exit && std::holds_alternative<ExitCanceled>(*exit);
    // A cancel may also be an old request_exit(); the number of instructions tells.
    if ((is_limit ? check_memory() : handle(exit, handler)) == Next::kLeave) {
      return;
    }
    retired = vcpu_->instructions_retired() - begin;
  }
}

VcpuThread::Next VcpuThread::handle(const Result<VcpuExit>& exit, WriteFaultHandler* handler) {
  if (!exit) {
    return fail(MachineEvent::Kind::kHostFailed, exit.error());
  }
  // Before the guest's answer counts: it may have read what was never in its memory.
  if (check_memory() == Next::kLeave) {
    return Next::kLeave;
  }
  return std::visit(ExitVisitor(*this, handler), *exit);
}

VcpuThread::Next VcpuThread::check_memory() {
  if (context_.host.memory().check_intact()) {
    return Next::kEnterGuest;
  }
  return fail(MachineEvent::Kind::kHostFailed, {Errc::kIo, 0, "the guest was stopped"});
}

VcpuThread::Next VcpuThread::read_device(const IoAccess& access) {
  ++counters_.io_exits;
  // Where nothing answers a PC bus floats high: all ones.
  std::uint64_t value = UINT64_MAX;
  std::optional<Error> refused;
  if (const std::optional<DeviceBus::Target> target = context_.bus.find(access)) {
    Result<std::uint64_t> answer =
        target->device->read(target->offset, access.width_bytes, index_, context_.host);
    if (answer) {
      value = *answer;
    } else {
      refused = std::move(answer).error().with_context("device '" +
                                                       std::string(target->device->name()) + "'");
    }
  } else {
    ++counters_.unclaimed_accesses;
  }
  // Answered even when the device failed, so that the vCPU stays at an instruction boundary.
  if (Result<void> completed = vcpu_->complete_read(value); !completed && !refused) {
    refused = std::move(completed).error();
  }
  return refused ? fail(MachineEvent::Kind::kHostFailed, *std::move(refused)) : Next::kEnterGuest;
}

VcpuThread::Next VcpuThread::write_device(const IoAccess& access, std::uint64_t data) {
  ++counters_.io_exits;
  const std::optional<DeviceBus::Target> target = context_.bus.find(access);
  if (!target) {
    ++counters_.unclaimed_accesses;
    return Next::kEnterGuest;
  }
  TrapHandler* const handler = target->device->trap_handler();
  Result<WriteOutcome> outcome =
      handler != nullptr
          ? trap(*handler, target->offset)
          : target->device->write(target->offset, access.width_bytes, data, index_, context_.host);
  if (!outcome) {
    return fail(MachineEvent::Kind::kHostFailed,
                std::move(outcome).error().with_context("device '" +
                                                        std::string(target->device->name()) + "'"));
  }
  return after_write(*std::move(outcome));
}

Result<WriteOutcome> VcpuThread::trap(TrapHandler& handler, std::uint64_t offset) {
  X86TrapAccess* const access = vcpu_->trap_access();
  if (access == nullptr) {
    return Error{Errc::kNotSupported, 0, "this backend gives no access to registers at a trap"};
  }
  return handler.on_trap(offset, *access, context_.host);
}

Result<void> VcpuThread::before_entry() {
  X86TrapAccess* const access = vcpu_->trap_access();
  if (context_.trap_handler == nullptr || access == nullptr) {
    return {};  // A trap will say that there is no access.
  }
  STASIS_ASSIGN(const InterruptPlan plan,
                context_.trap_handler->before_entry(*access, context_.host));
  return plan_interrupt(plan);
}

Result<void> VcpuThread::plan_interrupt(const InterruptPlan& plan) {
  planned_ = plan;
  {
    const MutexLock lock(mutex_);
    interrupt_on_wake_ = plan.on_wake;
    if (plan.on_wake && standing_.wake_pending) {
      interrupt();
    }
  }
  return timer_.set(plan.at);
}

VcpuThread::Next VcpuThread::canceled() {
  ++counters_.cancels;
  {
    const MutexLock lock(mutex_);
    // Whoever asked for something else has changed something under the mutex; that comes first.
    if (!std::exchange(interrupted_, false) || !may_run_) {
      return Next::kLeave;
    }
    standing_.wake_pending = standing_.wake_pending && !interrupt_on_wake_;
  }
  ++counters_.interrupts;
  planned_ = {};
  X86TrapAccess* const access = vcpu_->trap_access();
  STASIS_CHECK(access != nullptr && context_.trap_handler != nullptr);  // It has made a plan.
  Result<WriteOutcome> outcome = context_.trap_handler->on_interrupt(*access, context_.host);
  return outcome ? after_write(*std::move(outcome))
                 : fail(MachineEvent::Kind::kHostFailed, std::move(outcome).error());
}

VcpuThread::Next VcpuThread::after_write(WriteOutcome outcome) {
  Next next = Next::kEnterGuest;
  if (outcome.interrupt != planned_) {
    if (Result<void> planned = plan_interrupt(outcome.interrupt); !planned) {
      return fail(MachineEvent::Kind::kHostFailed, std::move(planned).error());
    }
  }
  if (outcome.after != AfterWrite::kContinue) {
    const MutexLock lock(mutex_);
    if (outcome.after == AfterWrite::kHold) {
      held_ = true;
      next = Next::kLeave;
    } else if (standing_.wake_pending) {
      standing_.wake_pending = false;
    } else {
      standing_.activity = VcpuActivity::kParked;
      park_until_ = outcome.park_until;
      next = Next::kLeave;
    }
  }
  // Last: whoever takes the event may at once release or wake this vCPU.
  if (outcome.event) {
    post_event(*std::move(outcome.event));
  }
  return next;
}

VcpuThread::Next VcpuThread::write_fault(Gpa gpa, WriteFaultHandler* handler) {
  ++counters_.write_faults;
  if (handler == nullptr) {
    return fail(MachineEvent::Kind::kHostFailed,
                {Errc::kNotSupported, 0,
                 "the guest wrote to the write-protected page at " + hex(gpa.value) +
                     " and no dirty tracker is armed"});
  }
  if (Result<void> handled = handler->on_write_fault(gpa); !handled) {
    return fail(MachineEvent::Kind::kHostFailed,
                std::move(handled).error().with_context("write fault at " + hex(gpa.value)));
  }
  return Next::kEnterGuest;
}

VcpuThread::Next VcpuThread::halt() {
  {
    const MutexLock lock(mutex_);
    standing_.activity = VcpuActivity::kHalted;
  }
  // Relaxed: only the number counts.
  if (context_.halted.fetch_add(1, std::memory_order_relaxed) + 1 == context_.vcpu_count) {
    post_event({MachineEvent::Kind::kHalted});
  }
  return Next::kLeave;
}

// The guest is finished as a whole; the vCPU does not come back from the call by which it said so.
VcpuThread::Next VcpuThread::shut_down(ShutdownKind kind) {
  if (kind == ShutdownKind::kReset) {
    return fail(MachineEvent::Kind::kGuestFailed,
                {Errc::kGuestFault, 0,
                 "the guest asked to be started again, which is not done: run it anew"});
  }
  {
    const MutexLock lock(mutex_);
    held_ = true;
  }
  post_event({MachineEvent::Kind::kExit});
  return Next::kLeave;
}

VcpuThread::Next VcpuThread::fail(MachineEvent::Kind kind, Error error) {
  // A guest without its memory fails in ways that say nothing of the cause.
  if (Result<void> whole = context_.host.memory().check_files(); !whole) {
    kind = MachineEvent::Kind::kHostFailed;
    error.message = whole.error().message + "; then: " + error.message;
  }
  MachineEvent event{kind};
  event.message = "vCPU " + std::to_string(index_) + ": " + error.message;
  error.message = event.message;
  {
    const MutexLock lock(mutex_);
    held_ = true;
    failure_ = std::move(error);
  }
  post_event(std::move(event));
  return Next::kLeave;
}

void VcpuThread::post_event(MachineEvent event) {
  event.vcpu = index_;
  event.at = host_clock().now();
  context_.events.post(std::move(event));
}

}  // namespace stasis::internal
