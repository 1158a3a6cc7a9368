// An arm64 Linux kernel from files to guest RAM. Private to session/.
#pragma once

#include <memory>

#include "core/capabilities.h"
#include "core/guest_memory.h"
#include "core/machine.h"
#include "session/guest_port.h"
#include "session/options.h"

namespace stasis::session::internal {

// Value.
struct LoadedKernel {
  std::unique_ptr<GuestMemory> memory;
  Devices devices;
  MachineState state;
};

// `options.kernel` is there. kNotSupported for a backend that cannot run one, kNotFound for files
// that are not there, otherwise as guests::arm64::load_linux().
Result<LoadedKernel> load_kernel(const Capabilities& capabilities, const LaunchOptions& options,
                                 const std::shared_ptr<ConsoleBuffer>& console);

}  // namespace stasis::session::internal
