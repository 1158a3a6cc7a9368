#include "core/interrupt_controller.h"

#include <string>

#include "core/hypervisor.h"

namespace stasis {

SavedParts saved_parts(std::span<const DeviceState> parts) {
  if (!parts.empty() && parts.back().name == kGicName) {
    return {parts.first(parts.size() - 1), &parts.back()};
  }
  return {parts, nullptr};
}

InterruptControllerKind kind_of(const SavedParts& parts) {
  return parts.controller == nullptr ? InterruptControllerKind::kNone
                                     : InterruptControllerKind::kGicV3;
}

Result<void> refuse_interrupt_controller(const VmConfig& config, std::string_view backend) {
  if (config.interrupt_controller == InterruptControllerKind::kNone) {
    return {};
  }
  return Error{Errc::kNotSupported, 0,
               std::string(backend) + ": this backend has no interrupt controller for a guest"};
}

}  // namespace stasis
