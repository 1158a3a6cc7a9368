// Whether a MachineState fits a Machine, and its devices' part of one. Private to core/.
#pragma once

#include <cstdint>
#include <span>

#include "core/device.h"
#include "core/interrupt_controller.h"
#include "core/machine.h"
#include "core/result.h"

namespace stasis::internal {

// kMismatch, naming the part, unless `state` is of so many vCPUs, these devices in this order, and
// an interrupt controller only if the machine has one.
Result<void> check_state(const MachineState& state, std::uint32_t vcpus,
                         std::span<Device* const> devices, InterruptControllerKind controller);

// Of a checked state. `controller` may be null, and `state` may have nothing for it.
Result<void> load_devices(const MachineState& state, std::span<Device* const> devices,
                          InterruptController* controller);

}  // namespace stasis::internal
