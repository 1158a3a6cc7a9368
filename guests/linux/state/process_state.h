#pragma once
#include <string>

#include "core/result.h"
#include "guests/linux/kernel.h"
namespace stasis::linux_guest {
struct Process;
struct ProcessState {};
inline Result<ProcessState> capture(const Process&) {
  return Error{Errc::kNotSupported, 0, "save"};
}
inline Result<void> restore(Process&, const ProcessState&, Kernel::StaleFiles) {
  return Error{Errc::kNotSupported, 0, "load"};
}
}  // namespace stasis::linux_guest
