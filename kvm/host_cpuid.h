// The processor's own CPUID leaves, as cheaply as they can be had, and the features they name.
//
// CPUID is a trap to the hypervisor below when the host is itself a virtual machine (some 10 us a
// leaf). The C library has executed the leaves that hold features already, at program start, and
// shows them to programs; only the others are executed here.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/x86_state.h"

namespace stasis::kvm {

// Of the host's processor. `flags` is 0.
X86CpuidEntry host_cpuid(std::uint32_t function, std::uint32_t index);

// XCR0 of the host; 0 if the operating system has not enabled XSAVE.
std::uint64_t host_xcr0();

// Where a leaf is found in a CPUID list; nullptr if absent. Subleaf 0 also matches entries whose
// index is not significant.
const X86CpuidEntry* find_leaf(std::span<const X86CpuidEntry> cpuid, std::uint32_t function,
                               std::uint32_t index);

// The features that a guest with these leaves can use, sorted, with the names of /proc/cpuinfo. A
// feature with registers of its own counts only if its XSAVE components are in `xcr0`.
std::vector<std::string> features_of(std::span<const X86CpuidEntry> cpuid, std::uint64_t xcr0);

// The leaves that features_of() looks at, from the host's processor. Executes no CPUID where the C
// library knows them.
std::vector<X86CpuidEntry> host_feature_leaves();

// "AVX-512 ZMM_Hi256": the name of an XSAVE component, for messages. SDM vol. 1, 13.1.
std::string_view xsave_component_name(std::uint32_t component);

}  // namespace stasis::kvm
