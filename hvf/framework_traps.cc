// What a vCPU of Hypervisor.framework does about each kind of trap, and its timer.
#include <mach/mach_time.h>

#include <algorithm>
#include <array>
#include <chrono>

#include <Hypervisor/Hypervisor.h>

#include "core/text.h"
#include "hvf/framework_error.h"
#include "hvf/framework_vcpu.h"
#include "hvf/psci.h"
#include "hvf/register_traps.h"
#include "hvf/syndrome_text.h"

namespace stasis::hvf {
namespace {

// SMCCC (Arm DEN 0028): the answer to a function that does not exist.
constexpr std::uint64_t kNoSuchFunction = UINT64_MAX;

// CNTV_CTL_EL0.
constexpr std::uint64_t kTimerEnabled = 1, kTimerMasked = 2, kTimerReached = 4;

// More in a row for one page than other vCPUs' aborts or the framework's own paging can explain.
constexpr std::uint32_t kRetriesMax = 10'000;

std::chrono::nanoseconds duration_of(std::uint64_t ticks) {  // 24 MHz: 125/3 ns.
  constexpr std::uint64_t kLongest = std::uint64_t{1} << 55U;
  return std::chrono::nanoseconds(std::min(ticks, kLongest) * 125 / 3);
}

const hv_vcpu_exit_exception_t& exception_of(const void* exit) {
  return static_cast<const hv_vcpu_exit_t*>(exit)->exception;
}

}  // namespace

HvfVcpu::Handled HvfVcpu::act_on(HvfVm::Verdict verdict, Gpa gpa, AbortKind kind) {
  switch (verdict) {
    case HvfVm::Verdict::kWriteProtected:
      return std::optional<VcpuExit>(ExitWriteProtected{gpa});
    case HvfVm::Verdict::kMissing:
      return std::optional<VcpuExit>(ExitMissingPage{gpa, kind == AbortKind::kWrite});
    case HvfVm::Verdict::kRetry:
      retries_ = gpa == retried_ ? retries_ + 1 : 0;
      retried_ = gpa;
      if (retries_ > kRetriesMax) {
        return fail("is stopped again and again at RAM that it may use, " + hex(gpa.value));
      }
      return std::optional<VcpuExit>();
    case HvfVm::Verdict::kForbidden:
      return fail("executes RAM that is not executable, " + hex(gpa.value));
    case HvfVm::Verdict::kNotRam:
      break;
  }
  return fail((kind == AbortKind::kFetch ? "executes " : "has its page tables at ") +
              hex(gpa.value) + ", where no RAM is");
}

HvfVcpu::Handled HvfVcpu::handle(const DataAbort& abort) {
  const Gpa gpa{exception_of(exit_).physical_address};
  const AbortKind kind = may_write(abort) ? AbortKind::kWrite : AbortKind::kRead;
  STASIS_ASSIGN(const HvfVm::Verdict verdict, vm_.judge_abort(gpa, kind));
  return verdict == HvfVm::Verdict::kNotRam && !abort.is_table_walk ? access_device(abort, gpa)
                                                                    : act_on(verdict, gpa, kind);
}

HvfVcpu::Handled HvfVcpu::handle(const InstructionAbort& abort) {
  const Gpa gpa{exception_of(exit_).physical_address};
  const AbortKind kind = abort.is_table_walk ? AbortKind::kWrite : AbortKind::kFetch;
  STASIS_ASSIGN(const HvfVm::Verdict verdict, vm_.judge_abort(gpa, kind));
  return act_on(verdict, gpa, kind);
}

HvfVcpu::Handled HvfVcpu::access_device(const DataAbort& abort, Gpa gpa) {
  if (abort.is_cache_maintenance) {  // Of a device: nothing to maintain.
    STASIS_TRY(skip_instruction());
    return std::optional<VcpuExit>();
  }
  if (!abort.access.has_value()) {
    return fail("accesses " + hex(gpa.value) +
                ", where no RAM is, by an instruction that a device cannot answer (a pair, an "
                "atomic, SIMD, or with write-back)");
  }
  const IoAccess access{IoSpace::kMmio, gpa.value, abort.access->width_bytes};
  if (!abort.is_write) {
    unanswered_read_ = abort.access;
    return std::optional<VcpuExit>(ExitIoRead{access});
  }
  STASIS_ASSIGN(const std::uint64_t value, get(abort.access->reg));
  STASIS_TRY(skip_instruction());
  return std::optional<VcpuExit>(ExitIoWrite{access, stored_value(*abort.access, value)});
}

// The firmware is PSCI by HVC and SMC #0, and nothing else.
HvfVcpu::Handled HvfVcpu::handle(const CallTrap& call) {
  STASIS_TRY(skip_instruction());
  if (call.immediate != 0) {
    return answer(kNoSuchFunction);
  }
  std::array<std::uint64_t, 4> arguments{};
  for (std::uint32_t i = 0; i < arguments.size(); ++i) {
    STASIS_ASSIGN(arguments[i], registers_->get(x_register(i)));
  }
  return handle(decode_psci(arguments));
}

HvfVcpu::Handled HvfVcpu::answer(std::uint64_t value) {
  STASIS_TRY(registers_->set(CoreRegister::kX0, value));
  return std::optional<VcpuExit>();
}

HvfVcpu::Handled HvfVcpu::handle(const PsciCall& call) {
  if (const auto* const known = std::get_if<PsciAnswer>(&call); known != nullptr) {
    return answer(known->value);
  }
  if (const auto* const on = std::get_if<PsciCpuOn>(&call); on != nullptr) {
    STASIS_ASSIGN(const HvfVm::Verdict where, vm_.judge_abort(Gpa{on->entry}, AbortKind::kRead));
    return answer(to_register(where == HvfVm::Verdict::kNotRam ? PsciStatus::kInvalidAddress
                                                               : vm_.power().turn_on(*on)));
  }
  if (const auto* const info = std::get_if<PsciAffinityInfo>(&call); info != nullptr) {
    return answer(vm_.power().affinity_info(info->affinity));
  }
  if (std::holds_alternative<PsciCpuSuspend>(call)) {
    return answer(to_register(PsciStatus::kSuccess));  // Waking may come at any time.
  }
  if (std::holds_alternative<PsciCpuOff>(call)) {
    vm_.power().turn_off(index_);
    return std::optional<VcpuExit>();
  }
  shut_down_ = std::holds_alternative<PsciSystemReset>(call) ? ShutdownKind::kReset
                                                             : ShutdownKind::kPowerOff;
  return std::optional<VcpuExit>(ExitShutdown{*shut_down_});
}

// Waiting may end at any time ("Wait For Interrupt", D1), so WFE and the forms with a deadline are
// over at once.
HvfVcpu::Handled HvfVcpu::handle(const WaitTrap& wait) {
  STASIS_TRY(skip_instruction());
  return wait.kind == WaitKind::kWfi && !vm_.has_gic() ? wait_for_timer()
                                                       : std::optional<VcpuExit>();
}

HvfVcpu::Handled HvfVcpu::handle(const SystemRegisterTrap& access) {
  STASIS_ASSIGN(const std::uint64_t count, guest_count());
  const std::optional<std::uint64_t> value = answer_register_trap(access.encoding, count);
  if (!value.has_value()) {
    return fail("accesses a system register that it has not (" +
                describe(decode_syndrome(syndrome_)) + ")");
  }
  if (access.access == RegisterAccess::kRead) {
    STASIS_TRY(set(access.reg, *value));
  }
  STASIS_TRY(skip_instruction());
  return std::optional<VcpuExit>();
}

HvfVcpu::Handled HvfVcpu::handle(const DebugTrap& /*trap*/) {
  return fail("took a debug exception (" + describe(decode_syndrome(syndrome_)) + ")");
}

HvfVcpu::Handled HvfVcpu::handle(const OtherTrap& /*trap*/) {
  return fail("took an exception that it should not be able to (" +
              describe(decode_syndrome(syndrome_)) + ")");
}

Result<void> HvfVcpu::raise_timer_line() {
  if (!timer_has_fired_) {
    return {};
  }
  if (vm_.has_gic()) {
    timer_has_fired_ = false;
    return framework_result(hv_vcpu_set_vtimer_mask(handle_, false), "unmask the virtual timer");
  }
  STASIS_ASSIGN(const std::uint64_t control, registers_->get_system(HV_SYS_REG_CNTV_CTL_EL0));
  constexpr std::uint64_t kAll = kTimerEnabled | kTimerMasked | kTimerReached;
  if ((control & kAll) == (kTimerEnabled | kTimerReached)) {
    return registers_->set_pending({.irq = true, .fiq = false});
  }
  timer_has_fired_ = false;
  return framework_result(hv_vcpu_set_vtimer_mask(handle_, false), "unmask the virtual timer");
}

Result<std::uint64_t> HvfVcpu::guest_count() {
  STASIS_ASSIGN(const Arm64VirtualTimer timer, registers_->get_timer());
  return mach_absolute_time() - timer.offset;
}

// Without a GIC nothing but the timer can wake a vCPU, so one whose timer is off has halted.
HvfVcpu::Handled HvfVcpu::wait_for_timer() {
  STASIS_ASSIGN(const std::uint64_t control, registers_->get_system(HV_SYS_REG_CNTV_CTL_EL0));
  if ((control & (kTimerEnabled | kTimerMasked)) != kTimerEnabled) {
    return std::optional<VcpuExit>(ExitHalted{});
  }
  STASIS_ASSIGN(const std::uint64_t wanted, registers_->get_system(HV_SYS_REG_CNTV_CVAL_EL0));
  STASIS_ASSIGN(const std::uint64_t count, guest_count());
  if (count < wanted) {
    const auto deadline = deadline_after(duration_of(wanted - count));
    const MutexLock lock(mutex_);
    while (!exit_requested_.load(std::memory_order_relaxed) &&
           requested_.wait_until(mutex_, deadline) == std::cv_status::no_timeout) {
    }
  }
  return std::optional<VcpuExit>();
}

}  // namespace stasis::hvf
