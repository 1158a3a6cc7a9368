#pragma once
#include <span>

#include "guests/linux/state/process_state.h"
namespace stasis::linux_guest {
inline Result<std::vector<std::byte>> encode_process(const ProcessState&) {
  return Error{Errc::kNotSupported, 0, "save"};
}
inline Result<ProcessState> decode_process(std::span<const std::byte>) {
  return Error{Errc::kNotSupported, 0, "load"};
}
}  // namespace stasis::linux_guest
