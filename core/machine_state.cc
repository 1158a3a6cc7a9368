#include "core/machine_state.h"

#include <string>
#include <utility>

namespace stasis::internal {

Result<void> check_state(const MachineState& state, std::uint32_t vcpus,
                         std::span<Device* const> devices, InterruptControllerKind controller) {
  if (state.vcpus.size() != vcpus || state.activities.size() != vcpus ||
      state.wake_pending.size() != vcpus) {
    return Error{Errc::kMismatch, 0,
                 "the state is of " + std::to_string(state.vcpus.size()) +
                     " vCPUs (activities: " + std::to_string(state.activities.size()) +
                     ", wake-ups: " + std::to_string(state.wake_pending.size()) +
                     ") but the machine has " + std::to_string(vcpus)};
  }
  const SavedParts saved = saved_parts(state.devices);
  if (saved.controller != nullptr && controller == InterruptControllerKind::kNone) {
    return Error{Errc::kMismatch, 0,
                 "the state has the interrupt controller '" + saved.controller->name +
                     "' but the machine has none"};
  }
  if (saved.devices.size() != devices.size()) {
    return Error{Errc::kMismatch, 0,
                 "the state is of " + std::to_string(saved.devices.size()) +
                     " devices but the machine has " + std::to_string(devices.size())};
  }
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (saved.devices[i].name != devices[i]->name()) {
      return Error{Errc::kMismatch, 0,
                   "device " + std::to_string(i) + " of the state is '" + saved.devices[i].name +
                       "' but the machine has '" + std::string(devices[i]->name()) + "' there"};
    }
  }
  return {};
}

Result<void> load_devices(const MachineState& state, std::span<Device* const> devices,
                          InterruptController* controller) {
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (Result<void> loaded = devices[i]->load_state(state.devices[i]); !loaded) {
      return std::move(loaded).error().with_context("device '" + std::string(devices[i]->name()) +
                                                    "'");
    }
  }
  const DeviceState* const saved = saved_parts(state.devices).controller;
  if (controller != nullptr && saved != nullptr) {
    if (Result<void> loaded = controller->load_state(*saved); !loaded) {
      return std::move(loaded).error().with_context("interrupt controller '" + saved->name + "'");
    }
  }
  return {};
}

}  // namespace stasis::internal
