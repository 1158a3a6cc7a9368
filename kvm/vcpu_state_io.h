// Saves and loads what KVM knows of a vCPU, but for general and system registers and events, which
// go through the registers that kvm_run shares (KvmVcpu).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/result.h"
#include "core/x86_state.h"
#include "kvm/host_facts.h"
#include "kvm/kvm_fd.h"
#include "kvm/state_checks.h"
#include "kvm/x86_transfer.h"

namespace stasis::kvm {

// What a vCPU has been given and KVM does not tell any more. Value.
struct VcpuSetup {
  std::vector<X86CpuidEntry> cpuid;
  std::uint32_t native_tsc_khz = 0;  // Before the first load that set another; 0: none has.
};

// The parts of a VM that decide how events are transferred.
EventFeatures event_features(const HostFacts& facts);

// All of them need the calling thread to own the vCPU, and no device access outstanding.

Result<void> save_vcpu_beside_registers(const KvmFd& vcpu, HostFacts& facts, X86VcpuState& state);

// Loading, in the order in which KVM checks parts against each other: CPUID before what it allows.
// `given` is brought up to date.
Result<void> load_vcpu_before_registers(const KvmFd& vcpu, HostFacts& facts,
                                        const X86VcpuState& state, VcpuHistory history,
                                        VcpuSetup& given);
Result<void> load_vcpu_after_registers(const KvmFd& vcpu, HostFacts& facts,
                                       const X86VcpuState& state, VcpuHistory history);

// The XSAVE image alone. An empty one is not loaded; kMismatch for one that the kernel refuses.
Result<std::vector<std::byte>> save_xsave(const KvmFd& vcpu, const HostFacts& facts);
Result<void> load_xsave(const KvmFd& vcpu, std::span<const std::byte> xsave,
                        const HostFacts& facts);

// Gives the list to a vCPU that has never run.
Result<void> set_cpuid(const KvmFd& vcpu, const std::vector<X86CpuidEntry>& cpuid);

}  // namespace stasis::kvm
