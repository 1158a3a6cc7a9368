// What the C++ library cannot say about threads. Private to core/.
#pragma once

#include "core/result.h"

namespace stasis::internal {

// kInvalidArgument for a CPU that this process may not use; kNotSupported where the host has no
// such service (macOS).
Result<void> pin_this_thread(int host_cpu);

}  // namespace stasis::internal
