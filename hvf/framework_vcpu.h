// A vCPU of Hypervisor.framework. Private to hvf/.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "core/hypervisor.h"
#include "core/mutex.h"
#include "hvf/framework_vm.h"
#include "hvf/register_file.h"
#include "hvf/syndrome.h"

namespace stasis::hvf {

// Thread-affine, and refuses every other thread. `vm` outlives it.
//
// Interrupts: with the framework's GIC everything about them, waiting included, happens inside the
// framework. Without it the virtual timer is wired straight to the guest's IRQ line. When it fires
// the framework masks it and the guest leaves; from then on the line follows the timer's own state
// at each entry, and when the guest has dealt with it (it moved the compare value, or masked or
// stopped the timer) the framework's mask is taken off again.
class HvfVcpu final : public Vcpu {
 public:
  static Result<std::unique_ptr<Vcpu>> create(HvfVm& vm, std::uint32_t index);
  ~HvfVcpu() override;
  HvfVcpu(const HvfVcpu&) = delete;
  HvfVcpu& operator=(const HvfVcpu&) = delete;

  Result<VcpuExit> run() override;
  Result<VcpuExit> run_for(std::uint64_t instructions) override;
  Result<void> complete_read(std::uint64_t value) override;
  [[nodiscard]] Result<VcpuState> save_state() override;
  Result<void> load_state(const VcpuState& state) override;
  void request_exit() noexcept override;

 private:
  // Nothing: run on.
  using Handled = Result<std::optional<VcpuExit>>;

  HvfVcpu(HvfVm& vm, std::uint32_t index, std::uint64_t handle, const void* exit);
  Result<void> set_up_identity();
  [[nodiscard]] Result<void> check_thread(std::string_view what) const;
  [[nodiscard]] Error misuse(std::string_view message) const;

  // False when it was woken, and still is off.
  Result<bool> wait_until_on();
  Result<void> begin_at(const CpuStart& start);
  Result<void> enter();
  Handled handle_exit();
  Handled handle_exception();
  Handled handle(const DataAbort& abort);
  Handled handle(const InstructionAbort& abort);
  Handled handle(const CallTrap& call);
  Handled handle(const PsciCall& call);
  Handled handle(const WaitTrap& wait);
  Handled handle(const SystemRegisterTrap& access);
  Handled handle(const DebugTrap& trap);
  Handled handle(const OtherTrap& trap);
  Handled act_on(HvfVm::Verdict verdict, Gpa gpa, AbortKind kind);
  Handled access_device(const DataAbort& abort, Gpa gpa);
  Handled fail(const std::string& what);

  Handled answer(std::uint64_t value);  // Of a call: X0.

  Result<void> raise_timer_line();
  Handled wait_for_timer();
  Result<void> skip_instruction();
  Result<std::uint64_t> get(GeneralRegister reg);
  Result<void> set(GeneralRegister reg, std::uint64_t value);
  [[nodiscard]] Result<std::uint64_t> guest_count();

  // Constant after construction.
  HvfVm& vm_;
  const std::uint32_t index_;
  const std::uint64_t handle_;  // hv_vcpu_t
  const void* const exit_;      // hv_vcpu_exit_t, the framework's.
  const std::unique_ptr<RegisterFile> registers_;
  const std::thread::id owner_ = std::this_thread::get_id();

  // The owner thread's.
  std::uint64_t syndrome_ = 0;  // Of the exit that is being handled, or waits for an answer.
  std::optional<AbortedAccess> unanswered_read_;
  bool timer_has_fired_ = false;           // And the framework's mask is on.
  std::optional<ShutdownKind> shut_down_;  // What the guest asked for.
  std::size_t loads_ = 0;
  Gpa retried_;                // The last abort that was no exit,
  std::uint32_t retries_ = 0;  // and how often it came without an exit in between.

  // Any thread. Release on request, acquire on the exit: what the requester wrote before is seen.
  std::atomic<bool> exit_requested_ = false;
  Mutex mutex_;
  ConditionVariable requested_;  // For a vCPU that waits for its timer.
};

}  // namespace stasis::hvf
