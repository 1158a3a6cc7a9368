// VMs of Apple's Hypervisor.framework: on a Mac those of Apple, on Linux those of our simulation,
// by the same source.
#pragma once

#include <memory>

#include "core/hypervisor.h"
#include "core/result.h"

namespace stasis::hvf {

// kNotSupported, "reason: cure", where no VM can be made; cheap. The framework allows one VM in a
// process at a time, whoever made it.
Result<std::unique_ptr<HypervisorBackend>> make_backend();

}  // namespace stasis::hvf
