// Sentences about vCPUs that cannot go on.
#pragma once

#include <string>

#include "core/result.h"
#include "kvm/kvm_fd.h"

namespace stasis::kvm {

// " at rip 0x401000 (cr3 0x1000, cr2 0x0)", or empty if the registers cannot be read.
std::string describe_position(const KvmFd& vcpu);

// For an exit that ends the guest: shutdown, emulation failure, refused entry, unknown.
std::string describe_failure(const KvmFd& vcpu, const kvm_run* run);

// For a KVM_RUN that failed: kBackend, with the likely cause.
Error describe_refusal(const KvmFd& vcpu, const kvm_run* run, int os_error);

}  // namespace stasis::kvm
