// The framework's own interrupt controller. Private to hvf/.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/interrupt_controller.h"
#include "core/mutex.h"

namespace stasis::hvf {

// Its state is saved and loaded register by register, because the framework's own form of it may be
// refused by the next macOS, and by any VM that has run (decision 43). What belongs to a vCPU is in
// Arm64VcpuState.
class HvfGic final : public InterruptController {
 public:
  // After hv_vm_create(), before the first vCPU.
  static Result<std::unique_ptr<HvfGic>> create();
  ~HvfGic() override = default;
  HvfGic(const HvfGic&) = delete;
  HvfGic& operator=(const HvfGic&) = delete;
  HvfGic(HvfGic&&) = delete;
  HvfGic& operator=(HvfGic&&) = delete;

  [[nodiscard]] std::string_view name() const override { return kGicName; }
  Result<void> set_line(std::uint32_t line, LineLevel level) override;
  [[nodiscard]] Result<DeviceState> save_state() const override;
  Result<void> load_state(const DeviceState& state) override;

 private:
  explicit HvfGic(std::uint32_t spis) : spis_(spis), is_high_(spis) {}
  Result<void> tell_framework(std::uint32_t line, LineLevel level) const;

  const std::uint32_t spis_;
  mutable Mutex mutex_;
  // What the framework was told last, which it cannot be asked.
  std::vector<bool> is_high_ STASIS_GUARDED_BY(mutex_);
};

}  // namespace stasis::hvf
