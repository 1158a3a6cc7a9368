#include <algorithm>
#include <utility>

#include "core/device.h"
#include "core/text.h"

namespace stasis {
namespace {

std::string describe(IoSpace space, std::uint64_t address, std::uint64_t size_bytes) {
  return std::string(space == IoSpace::kPort ? "ports [" : "MMIO [") + hex(address) + ", +" +
         hex(size_bytes) + ")";
}

}  // namespace

std::string_view name_of(MachineEvent::Kind kind) {
  switch (kind) {
    case MachineEvent::Kind::kReady:
      return "ready";
    case MachineEvent::Kind::kResponse:
      return "response";
    case MachineEvent::Kind::kCheckpoint:
      return "checkpoint";
    case MachineEvent::Kind::kExit:
      return "exit";
    case MachineEvent::Kind::kHalted:
      return "halted";
    case MachineEvent::Kind::kGuestFailed:
      return "guest_failed";
    case MachineEvent::Kind::kHostFailed:
      return "host_failed";
  }
  return "unknown event";
}

Result<void> DeviceBus::attach(IoSpace space, std::uint64_t address, std::uint64_t size_bytes,
                               std::shared_ptr<Device> device) {
  STASIS_CHECK(device != nullptr);
  const std::string what =
      "device '" + std::string(device->name()) + "' at " + describe(space, address, size_bytes);
  // The x86 port space has 2^16 ports (Intel SDM vol. 1, 19.3).
  const std::uint64_t last = space == IoSpace::kPort ? 0xffff : UINT64_MAX;
  if (size_bytes == 0 || address > last || size_bytes - 1 > last - address) {
    return Error{Errc::kInvalidArgument, 0,
                 what + ": the window is empty or leaves its address space"};
  }
  for (const Window& other : windows_) {
    if (other.device != device && other.device->name() == device->name()) {
      return Error{Errc::kInvalidArgument, 0, what + ": another device has this name"};
    }
    const bool before = address + (size_bytes - 1) < other.address;
    const bool after = other.address + (other.size_bytes - 1) < address;
    if (other.space == space && !before && !after) {
      return Error{Errc::kInvalidArgument, 0,
                   what + ": overlaps device '" + std::string(other.device->name()) + "' at " +
                       describe(other.space, other.address, other.size_bytes)};
    }
  }
  windows_.push_back({space, address, size_bytes, std::move(device)});
  return {};
}

std::optional<DeviceBus::Target> DeviceBus::find(const IoAccess& access) const {
  for (const Window& window : windows_) {
    if (window.space == access.space && access.address >= window.address &&
        fits(access.address - window.address, access.width_bytes, window.size_bytes)) {
      return Target{window.device.get(), access.address - window.address};
    }
  }
  return std::nullopt;
}

std::vector<Device*> DeviceBus::devices() const {
  std::vector<Device*> devices;
  for (const Window& window : windows_) {
    if (std::find(devices.begin(), devices.end(), window.device.get()) == devices.end()) {
      devices.push_back(window.device.get());
    }
  }
  return devices;
}

}  // namespace stasis
