#include "hvf/framework_vcpu.h"

#include <mach/mach_time.h>

#include <utility>
#include <variant>

#include <Hypervisor/Hypervisor.h>

#include "core/text.h"
#include "hvf/framework_error.h"
#include "hvf/framework_registers.h"
#include "hvf/platform.h"
#include "hvf/registers.h"

namespace stasis::hvf {
namespace {

// MPIDR_EL1: bit 31 is always set; Aff0 counts to 15, as GICv3's target lists do.
constexpr std::uint64_t affinity_of(std::uint32_t index) {
  return std::uint64_t{1} << 31U | std::uint64_t{index / 16} << 8U | index % 16;
}
// CNTV_CTL_EL0.ISTATUS: read-only, follows from the compare value and a count that goes on.
constexpr std::uint64_t kTimerReached = 4;
constexpr std::uint64_t kEl1Masked = 0x3c5;  // PSTATE: EL1h, D, A, I and F masked.
// SCTLR_EL1 with translation and caches off: only what is RES1 in Armv8.0.
constexpr std::uint64_t kTranslationOff = 0x30d00800;
constexpr std::uint64_t kSmeField = std::uint64_t{0xf} << 24U;  // Of ID_AA64PFR1_EL1.

std::string name_of_vcpu(std::uint32_t index) {
  return std::string(platform().name) + ": vCPU " + std::to_string(index);
}

}  // namespace

Result<std::unique_ptr<Vcpu>> HvfVcpu::create(HvfVm& vm, std::uint32_t index) {
  hv_vcpu_t handle = 0;
  hv_vcpu_exit_t* exit = nullptr;
  STASIS_TRY(framework_result(hv_vcpu_create(&handle, &exit, nullptr),
                              "create vCPU " + std::to_string(index) + " on this thread"));
  std::unique_ptr<HvfVcpu> vcpu(new HvfVcpu(vm, index, handle, exit));
  STASIS_TRY(vcpu->set_up_identity());
  return std::unique_ptr<Vcpu>(std::move(vcpu));
}

HvfVcpu::HvfVcpu(HvfVm& vm, std::uint32_t index, std::uint64_t handle, const void* exit)
    : vm_(vm),
      index_(index),
      handle_(handle),
      exit_(exit),
      registers_(make_framework_registers(
          handle, vm.has_gic() ? GicPresence::kPresent : GicPresence::kAbsent)) {}

HvfVcpu::~HvfVcpu() {
  // The framework refuses on another thread, which is a bug of the caller.
  STASIS_CHECK(std::this_thread::get_id() == owner_);
  STASIS_CHECK(hv_vcpu_destroy(handle_) == HV_SUCCESS);
}

// SME is not shown, because its state is not saved. On a host that takes no write the field stays,
// and a guest that uses it is stopped by nothing: so that is an error.
Result<void> HvfVcpu::set_up_identity() {
  STASIS_TRY(registers_->set_system(HV_SYS_REG_MPIDR_EL1, affinity_of(index_)));
  vm_.power().add(index_, affinity_of(index_));
  STASIS_ASSIGN(const std::uint64_t features, registers_->get_system(HV_SYS_REG_ID_AA64PFR1_EL1));
  if ((features & kSmeField) != 0) {
    STASIS_TRY(registers_->set_system(HV_SYS_REG_ID_AA64PFR1_EL1, features & ~kSmeField));
  }
  return registers_->set(CoreRegister::kCpsr, kEl1Masked);
}

Error HvfVcpu::misuse(std::string_view message) const {
  return Error{Errc::kInvalidArgument, 0, name_of_vcpu(index_) + ": " + std::string(message)};
}

Result<void> HvfVcpu::check_thread(std::string_view what) const {
  if (std::this_thread::get_id() != owner_) {
    return misuse(std::string(what) +
                  ": called on another thread than the one that created the vCPU; a vCPU is "
                  "created, used and destroyed on one thread (only request_exit() is free)");
  }
  return {};
}

Result<VcpuExit> HvfVcpu::run() {
  STASIS_TRY(check_thread("run"));
  if (unanswered_read_.has_value()) {
    return misuse("run: the guest waits for the value of a read; call complete_read() first");
  }
  if (!vm_.is_mapped()) {
    return misuse("run: no memory is mapped");
  }
  while (true) {
    if (exit_requested_.exchange(false, std::memory_order_acquire)) {
      return VcpuExit(ExitCanceled{});  // The framework may have it latched: see handle_exit().
    }
    if (shut_down_.has_value()) {
      return VcpuExit(ExitShutdown{*shut_down_});
    }
    STASIS_ASSIGN(const bool is_on, wait_until_on());
    if (!is_on) {
      continue;
    }
    STASIS_TRY(enter());
    STASIS_ASSIGN(std::optional<VcpuExit> exit, handle_exit());
    if (exit.has_value()) {
      retries_ = 0;
      return *std::move(exit);
    }
  }
}

Result<VcpuExit> HvfVcpu::run_for(std::uint64_t /*instructions*/) {
  STASIS_TRY(check_thread("run"));
  return Error{
      Errc::kNotSupported, 0,
      name_of_vcpu(index_) + ": Hypervisor.framework cannot run a given number of instructions"};
}

Result<bool> HvfVcpu::wait_until_on() {
  if (vm_.power().is_on(index_)) {
    return true;
  }
  vm_.power().wait_for_start(index_);
  const std::optional<CpuStart> start = vm_.power().take_start(index_);
  if (!start.has_value()) {
    return false;
  }
  STASIS_TRY(begin_at(*start));
  return true;
}

// "CPU_ON": what PSCI promises of a CPU that starts, at EL1.
Result<void> HvfVcpu::begin_at(const CpuStart& start) {
  STASIS_TRY(registers_->set_system(HV_SYS_REG_SCTLR_EL1, kTranslationOff));
  STASIS_TRY(registers_->set_system(HV_SYS_REG_CNTV_CTL_EL0, 0));
  STASIS_TRY(registers_->set(CoreRegister::kCpsr, kEl1Masked));
  STASIS_TRY(registers_->set(CoreRegister::kPc, start.entry));
  return registers_->set(CoreRegister::kX0, start.context);
}

Result<void> HvfVcpu::enter() {
  STASIS_TRY(raise_timer_line());
  vm_.clock().enter();
  const hv_return_t code = hv_vcpu_run(handle_);
  vm_.clock().leave();
  return framework_result(code, "run vCPU " + std::to_string(index_));
}

HvfVcpu::Handled HvfVcpu::handle_exit() {
  const auto& exit = *static_cast<const hv_vcpu_exit_t*>(exit_);
  switch (exit.reason) {
    case HV_EXIT_REASON_CANCELED:
      // Without a request it is an old one that run() has answered already.
      if (exit_requested_.exchange(false, std::memory_order_acquire)) {
        return std::optional<VcpuExit>(ExitCanceled{});
      }
      return std::optional<VcpuExit>();
    case HV_EXIT_REASON_VTIMER_ACTIVATED:
      timer_has_fired_ = true;  // With a GIC not expected, and no more than unmasked.
      return std::optional<VcpuExit>();
    case HV_EXIT_REASON_EXCEPTION:
      syndrome_ = exit.exception.syndrome;
      return std::visit([this](const auto& trap) { return handle(trap); },
                        decode_syndrome(syndrome_));
    case HV_EXIT_REASON_UNKNOWN:
      break;
  }
  return fail("left the guest for a reason that the framework does not name");
}

Result<void> HvfVcpu::complete_read(std::uint64_t value) {
  STASIS_TRY(check_thread("complete a read"));
  if (!unanswered_read_.has_value()) {
    return misuse("complete a read: the guest does not wait for one");
  }
  const AbortedAccess access = *std::exchange(unanswered_read_, std::nullopt);
  STASIS_TRY(set(access.reg, loaded_value(access, value)));
  return skip_instruction();
}

Result<VcpuState> HvfVcpu::save_state() {
  STASIS_TRY(check_thread("save the state"));
  if (unanswered_read_.has_value()) {
    return misuse(
        "save the state: a read of the guest is unanswered, so its instruction is not "
        "complete; call complete_read() first");
  }
  if (const std::optional<CpuStart> start = vm_.power().take_start(index_)) {
    STASIS_TRY(begin_at(*start));
  }
  STASIS_ASSIGN(Arm64VcpuState state, save_registers(*registers_));
  state.power = vm_.power().is_on(index_) ? Arm64PowerState::kOn : Arm64PowerState::kOff;
  for (Arm64SystemRegister& reg : state.system) {
    if (reg.encoding == HV_SYS_REG_CNTV_CTL_EL0) {
      reg.value &= ~kTimerReached;
    }
  }
  state.virtual_timer.offset = saved_offset(state.virtual_timer.offset, vm_.clock().stopped_at());
  return VcpuState(std::move(state));
}

Result<void> HvfVcpu::load_state(const VcpuState& state) {
  STASIS_TRY(check_thread("load a state"));
  const auto* arm64 = std::get_if<Arm64VcpuState>(&state);
  if (arm64 == nullptr) {
    return Error{Errc::kMismatch, 0,
                 name_of_vcpu(index_) + ": the state is of architecture " +
                     std::string(name_of(architecture_of(state))) + ", this CPU is " +
                     std::string(name_of(Architecture::kArm64))};
  }
  if (arm64->power == Arm64PowerState::kSuspended) {
    return Error{Errc::kMismatch, 0,
                 name_of_vcpu(index_) +
                     ": the state is of a CPU that is suspended; this backend has only CPUs that "
                     "are on or off"};
  }
  Arm64VcpuState loaded = *arm64;
  if (vm_.has_gic()) {
    loaded.virtual_timer.masked = false;  // The framework's affair; masked it would never fire.
  }
  loaded.virtual_timer.offset =
      loaded_offset(loaded.virtual_timer.offset, vm_.clock().continues_at(loads_++));
  STASIS_TRY(load_registers(loaded, *registers_));
  unanswered_read_.reset();
  shut_down_.reset();
  timer_has_fired_ = loaded.virtual_timer.masked;
  vm_.power().set(
      index_, loaded.power == Arm64PowerState::kOn ? CpuPower::Power::kOn : CpuPower::Power::kOff);
  return vm_.forget_code();
}

// Only this vCPU's, and only while it exists, which its user sees to.
void HvfVcpu::request_exit() noexcept {
  {
    const MutexLock lock(mutex_);
    exit_requested_.store(true, std::memory_order_release);
  }
  requested_.notify_all();
  vm_.power().wake(index_);
  hv_vcpu_t handle = handle_;
  static_cast<void>(hv_vcpus_exit(&handle, 1));
}

Result<std::uint64_t> HvfVcpu::get(GeneralRegister reg) {
  return reg.has_value() ? registers_->get(x_register(*reg)) : Result<std::uint64_t>(0);
}

Result<void> HvfVcpu::set(GeneralRegister reg, std::uint64_t value) {
  return reg.has_value() ? registers_->set(x_register(*reg), value) : Result<void>();
}

Result<void> HvfVcpu::skip_instruction() {
  STASIS_ASSIGN(const std::uint64_t pc, registers_->get(CoreRegister::kPc));
  return registers_->set(CoreRegister::kPc, pc + bytes_to_skip(syndrome_));
}

HvfVcpu::Handled HvfVcpu::fail(const std::string& what) {
  STASIS_ASSIGN(const std::uint64_t pc, registers_->get(CoreRegister::kPc));
  return std::optional<VcpuExit>(ExitFailed{"the guest " + what + ", at PC " + hex(pc)});
}

}  // namespace stasis::hvf
