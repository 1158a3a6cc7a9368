// A VM's interrupt controller, where the hypervisor has one of its own.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "core/address.h"
#include "core/device.h"
#include "core/result.h"

namespace stasis {

enum class InterruptControllerKind : std::uint8_t {
  kNone,   // A guest has what its vCPU brings along.
  kGicV3,  // Arm's, at the addresses below.
};

// Part of a Vm, thread-compatible but for set_line(). Its name in a MachineState is constant.
class InterruptController : public StatefulPart {
 public:
  // Line n is shared by all vCPUs (GIC: SPI n, INTID 32 + n). Any thread, also while vCPUs run.
  // kOutOfRange for a line that is not there.
  virtual Result<void> set_line(std::uint32_t line, LineLevel level) = 0;
};

// Where a guest finds its GICv3. Redistributors follow each other, by vCPU index.
inline constexpr Gpa kGicDistributor{0x08000000};
inline constexpr std::uint64_t kGicDistributorBytes = 0x10000;
inline constexpr Gpa kGicRedistributors{0x080a0000};
inline constexpr std::uint64_t kGicRedistributorBytes = 0x20000;
inline constexpr std::string_view kGicName = "gicv3";

// The devices and the interrupt controller of MachineState::devices. Borrows from it.
struct SavedParts {
  std::span<const DeviceState> devices;
  const DeviceState* controller = nullptr;  // Null: the state has none.
};
SavedParts saved_parts(std::span<const DeviceState> parts);
InterruptControllerKind kind_of(const SavedParts& parts);

}  // namespace stasis
