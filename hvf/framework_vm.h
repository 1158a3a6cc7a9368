// A VM of Hypervisor.framework: the process's one. Private to hvf/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/hypervisor.h"
#include "core/mutex.h"
#include "hvf/cpu_power.h"
#include "hvf/framework_gic.h"
#include "hvf/guest_clock.h"
#include "hvf/guest_ram.h"

namespace stasis::hvf {

// What a stage-2 abort asks for.
enum class AbortKind : std::uint8_t { kRead, kWrite, kFetch };

class HvfVm final : public Vm {
 public:
  static Result<std::unique_ptr<Vm>> create(const VmConfig& config, std::uint64_t page_bytes);
  ~HvfVm() override;  // Every vCPU is gone.
  HvfVm(const HvfVm&) = delete;
  HvfVm& operator=(const HvfVm&) = delete;

  Result<void> map(GuestMemory& memory, Access access) override;
  Result<void> protect(std::span<const GpaRange> ranges, Access access) override;
  Result<std::unique_ptr<Vcpu>> create_vcpu(std::uint32_t index) override;
  DirtyLog* dirty_log(DirtyLogKind /*kind*/) override { return nullptr; }
  InterruptController* interrupt_controller() override { return gic_.get(); }

  // For vCPUs, any thread.

  // What to do about an abort at `gpa`.
  enum class Verdict : std::uint8_t {
    kNotRam,
    kRetry,           // The access is allowed (now): let the guest try again.
    kWriteProtected,  // ExitWriteProtected
    kMissing,         // ExitMissingPage
    kForbidden,       // A fetch from RAM that is not executable.
  };
  Result<Verdict> judge_abort(Gpa gpa, AbortKind kind);
  // The contents of RAM may have been replaced, code included. No vCPU is in the guest.
  Result<void> forget_code();
  [[nodiscard]] bool is_mapped() const;
  [[nodiscard]] GuestClock& clock() { return clock_; }
  [[nodiscard]] CpuPower& power() { return power_; }
  [[nodiscard]] bool has_gic() const { return gic_ != nullptr; }

 private:
  HvfVm(std::uint32_t vcpus, std::uint64_t page_bytes);
  Result<void> tell_framework(GpaRange range) STASIS_REQUIRES(mutex_);
  Result<void> claim(std::uint32_t index);
  void publish_created(std::uint32_t index, const Result<std::unique_ptr<Vcpu>>& vcpu);

  const std::uint64_t page_bytes_;
  GuestClock clock_;
  CpuPower power_;
  std::unique_ptr<HvfGic> gic_;  // Null: none was asked for. Set by create().

  mutable Mutex mutex_;
  std::optional<GuestRam> ram_ STASIS_GUARDED_BY(mutex_);  // Set once, by map().
  std::vector<bool> created_ STASIS_GUARDED_BY(mutex_);    // By vCPU index.
  // With a GIC, whose frames follow the order of creation: how many exist, and whether one failed.
  std::uint32_t in_order_ STASIS_GUARDED_BY(mutex_) = 0;
  bool creation_failed_ STASIS_GUARDED_BY(mutex_) = false;
  ConditionVariable turn_;
};

}  // namespace stasis::hvf
