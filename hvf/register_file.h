// The seam between a vCPU's state and whoever holds its registers: the framework, or a test.
#pragma once

#include <cstdint>

#include "core/arm64_state.h"
#include "core/result.h"

namespace stasis::hvf {

// The framework's numbers; X0 to X30 are 0 to 30.
enum class CoreRegister : std::uint32_t { kX0 = 0, kPc = 31, kFpcr = 32, kFpsr = 33, kCpsr = 34 };

constexpr CoreRegister x_register(std::uint32_t number) {
  return static_cast<CoreRegister>(number);
}

struct PendingLines {
  bool irq = false, fiq = false;
  friend bool operator==(const PendingLines&, const PendingLines&) = default;
};

// The registers of one stopped vCPU. Thread-affine, as the vCPU. Errors: kNotSupported for a system
// register that this vCPU has not, kBackend with the framework's code otherwise.
class RegisterFile {
 public:
  virtual ~RegisterFile() = default;

  virtual Result<std::uint64_t> get(CoreRegister reg) = 0;
  virtual Result<void> set(CoreRegister reg, std::uint64_t value) = 0;
  virtual Result<Arm64Vector> get_vector(std::uint32_t index) = 0;  // 0 to 31.
  virtual Result<void> set_vector(std::uint32_t index, const Arm64Vector& value) = 0;
  virtual Result<std::uint64_t> get_system(std::uint16_t encoding) = 0;
  virtual Result<void> set_system(std::uint16_t encoding, std::uint64_t value) = 0;

  // Whether the VM has the framework's GIC; without it nobody calls the next four.
  [[nodiscard]] virtual bool has_gic() const = 0;
  virtual Result<std::uint64_t> get_gic(std::uint16_t encoding) = 0;
  virtual Result<void> set_gic(std::uint16_t encoding, std::uint64_t value) = 0;
  // By offset in the second frame.
  virtual Result<std::uint64_t> get_redistributor(std::uint16_t offset) = 0;
  virtual Result<void> set_redistributor(std::uint16_t offset, std::uint64_t value) = 0;

  virtual Result<Arm64VirtualTimer> get_timer() = 0;
  virtual Result<void> set_timer(const Arm64VirtualTimer& timer) = 0;
  virtual Result<PendingLines> get_pending() = 0;
  virtual Result<void> set_pending(const PendingLines& lines) = 0;
};

}  // namespace stasis::hvf
