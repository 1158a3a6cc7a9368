// Finds out whether and how this host runs VMs with KVM, and makes the backend.
#pragma once

#include <memory>

#include "core/hypervisor.h"
#include "core/result.h"
#include "kvm/options.h"

namespace stasis::kvm {

// Cheap enough for every restore (some 40 us where a system call costs 0.2). Errors, each with its
// cure: kNotFound (no device), kIo (no permission), kNotSupported (API version, missing
// capabilities by name, or a host that is not x86-64 Linux).
Result<std::unique_ptr<HypervisorBackend>> make_backend(const Options& options = {});

}  // namespace stasis::kvm
