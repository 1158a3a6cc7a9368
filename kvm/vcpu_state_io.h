// Saves and loads everything that KVM knows of a vCPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/result.h"
#include "core/x86_state.h"
#include "kvm/host_facts.h"
#include "kvm/kvm_fd.h"
#include "kvm/x86_transfer.h"

namespace stasis::kvm {

// What a vCPU was before load(): a fresh one needs only what differs from its reset state.
enum class VcpuHistory : std::uint8_t { kFresh, kUsed };

// The parts of a VM that decide how events are transferred.
EventFeatures event_features(const HostFacts& facts);

// Both functions need the calling thread to own the vCPU, and no device access outstanding.
//
// `cpuid` is the list that the vCPU was given.
Result<X86VcpuState> save_vcpu(const KvmFd& vcpu, HostFacts& facts,
                               const std::vector<X86CpuidEntry>& cpuid);

// Loads all but general and system registers and events, which go through the registers that
// kvm_run shares (KvmVcpu::load_state). In the order in which KVM checks parts against each other:
// CPUID before what it allows. `cpuid` is replaced when state.cpuid is another list.
Result<void> load_vcpu_before_registers(const KvmFd& vcpu, HostFacts& facts,
                                        const X86VcpuState& state, VcpuHistory history,
                                        std::vector<X86CpuidEntry>& cpuid);
Result<void> load_vcpu_after_registers(const KvmFd& vcpu, HostFacts& facts,
                                       const X86VcpuState& state, VcpuHistory history);

// The XSAVE image alone. An empty one is not loaded; kMismatch for one that the kernel refuses.
Result<std::vector<std::byte>> save_xsave(const KvmFd& vcpu, const HostFacts& facts);
Result<void> load_xsave(const KvmFd& vcpu, std::span<const std::byte> xsave,
                        const HostFacts& facts);

// Gives the list to a vCPU that has never run.
Result<void> set_cpuid(const KvmFd& vcpu, const std::vector<X86CpuidEntry>& cpuid);

// kMismatch naming every CPU feature that `wanted` offers and `host` does not.
Result<void> check_features(const std::vector<X86CpuidEntry>& wanted,
                            const std::vector<X86CpuidEntry>& host);

// kMismatch naming the component, if the image holds one that this host lacks or places elsewhere.
// `saved_cpuid` may be empty (unknown): then only presence is checked.
Result<void> check_xsave(const X86VcpuState& state, const std::vector<X86CpuidEntry>& host,
                         std::uint64_t host_xcr0, std::size_t host_bytes);

}  // namespace stasis::kvm
