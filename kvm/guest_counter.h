// Asks KVM where a vCPU's time-stamp counter stands against the host's.
//
// For KVM on VT-x and SVM. Under the PVM module a guest reads the host's counter, whatever offset
// the module keeps (0, as long as nobody sets the counter).
#pragma once

#include <cstdint>
#include <optional>

#include "core/counter_relation.h"
#include "core/result.h"
#include "kvm/kvm_fd.h"

namespace stasis::kvm {

// What KVM adds to the host's counter, modulo 2^64: KVM_VCPU_TSC_OFFSET (Linux 5.16; kernel
// documentation, virt/kvm/devices/vcpu.rst). Nothing where the kernel does not say.
std::optional<std::uint64_t> tsc_offset(const KvmFd& vcpu);

// The vCPU's IA32_TSC by KVM_GET_MSRS, between two readings of the host's counter: the tightest of
// several tries. The rates in kHz are not 0. kNotSupported if KVM does not give the MSR.
Result<CounterRelation> bracket_tsc(const KvmFd& vcpu, std::uint32_t guest_khz,
                                    std::uint32_t host_khz);

// The offset where it is all there is to know, the bracket where the kernel does not say it or the
// counter is scaled: an offset relates the counters as they were when both began, and over the
// host's uptime the rounding of the scale is more than a bracket is wide. `native_khz`: what a vCPU
// of this host has if no other frequency is set; 0: this vCPU has it. kNotSupported on a host whose
// counter is unstable. The vCPU is not in KVM_RUN.
Result<CounterRelation> read_counter_relation(const KvmFd& vcpu, std::uint32_t native_khz);

}  // namespace stasis::kvm
