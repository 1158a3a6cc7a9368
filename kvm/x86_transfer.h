// Between KVM's structures and the portable X86VcpuState. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/x86_state.h"
#include "kvm/kvm_uapi.h"

namespace stasis::kvm {

kvm_segment to_kvm(const X86Segment& segment);
X86Segment from_kvm(const kvm_segment& segment);

kvm_regs to_kvm(const X86GeneralRegisters& registers);
X86GeneralRegisters from_kvm(const kvm_regs& registers);

kvm_sregs to_kvm(const X86SystemRegisters& registers);
X86SystemRegisters from_kvm(const kvm_sregs& registers);

kvm_debugregs to_kvm(const X86DebugRegisters& registers);
X86DebugRegisters from_kvm(const kvm_debugregs& registers);

// Which optional parts of kvm_vcpu_events the VM has enabled.
struct EventFeatures {
  bool payload = false;
  bool triple_fault = false;
};
kvm_vcpu_events to_kvm(const X86PendingEvents& events, EventFeatures features);
X86PendingEvents from_kvm(const kvm_vcpu_events& events);

std::string hex(std::uint64_t value);                     // "0x1f"
std::string msr_name(std::uint32_t index);                // "IA32_LSTAR (0xc0000082)"
std::string_view exit_reason_name(std::uint32_t reason);  // "KVM_EXIT_SHUTDOWN"

}  // namespace stasis::kvm
