// Whether this host can hold a saved vCPU state: decisions without I/O, and the words of a refusal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/result.h"
#include "core/x86_state.h"
#include "kvm/host_facts.h"

namespace stasis::kvm {

// What a vCPU was before load(): a fresh one needs only what differs from its reset state.
enum class VcpuHistory : std::uint8_t { kFresh, kUsed };

// kMismatch naming every CPU feature that `wanted` offers and `host` does not.
Result<void> check_features(const std::vector<X86CpuidEntry>& wanted,
                            const std::vector<X86CpuidEntry>& host);

// kMismatch naming the component, if the image holds one that this host lacks or places elsewhere.
// state.cpuid may be empty (unknown): then only presence is checked.
Result<void> check_xsave(const X86VcpuState& state, const std::vector<X86CpuidEntry>& host,
                         std::uint64_t host_xcr0, std::size_t host_bytes);

// What loading extended control registers takes. kNothing if the vCPU has them already: in its
// reset state, or because the PVM module runs guests with the host's own XCR0, whatever the vCPU's
// says, and refuses to change that one. kInvalidArgument for more than KVM can take.
enum class XcrLoad : std::uint8_t { kNothing, kSet };
Result<XcrLoad> plan_xcrs(const std::vector<X86Xcr>& xcrs, VcpuHistory history, Engine engine,
                          std::uint64_t guest_xcr0);
// The kMismatch for an XCR0 that KVM has refused, where guests can have the bits of `guest_xcr0`:
// names the bits beyond them and what they stand for.
Error refused_xcr0(std::uint64_t xcr0, std::uint64_t guest_xcr0);

// At how many kHz the time-stamp counter of a vCPU has to run, given what the saved one had (not 0)
// and what is native to this host: native, if no clock could tell; the saved, if this KVM can
// scale; otherwise refused_tsc_khz().
Result<std::uint32_t> plan_tsc_khz(std::uint32_t saved_khz, std::uint32_t native_khz,
                                   bool can_scale);
// A kMismatch naming both.
Error refused_tsc_khz(std::uint32_t saved_khz, std::uint32_t native_khz);

}  // namespace stasis::kvm
