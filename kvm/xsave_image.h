// The extended state of a vCPU as bytes: the standard form of XSAVE (SDM vol. 1, 13.4).
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "core/x86_state.h"

namespace stasis::kvm {

// XSTATE_BV, a word whose bit n says that component n is in use.
inline constexpr std::size_t kXstateBvOffset = 512;
inline constexpr std::size_t kXsaveLegacyAndHeaderBytes = 576;

// Clears in XSTATE_BV the components whose state is the initial one.
//
// A processor may call such a component in use or not (SDM vol. 1, 13.6 "Processor tracking of
// XSAVE-managed state"), and what it says changes when the host's kernel switches threads: without
// this, two saves of a paused vCPU may differ in a bit that stands for nothing. `image` is as
// KVM_GET_XSAVE fills it in: with initial values for what is not in use. Where components lie is
// taken from leaf 0xd of `host`; those that it does not have are left as they are.
void clear_initial_components(std::span<std::byte> image, const std::vector<X86CpuidEntry>& host);

}  // namespace stasis::kvm
