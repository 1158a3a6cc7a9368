// VcpuState: the complete architectural state of one vCPU of any architecture.
#pragma once

#include <cstdint>
#include <string_view>
#include <variant>

#include "core/arm64_state.h"
#include "core/toy_state.h"
#include "core/x86_state.h"

namespace stasis {

// The numbers are written to snapshots: never reuse or reorder.
enum class Architecture : std::uint8_t { kX86_64 = 1, kArm64 = 2, kToy = 3 };
std::string_view name_of(Architecture architecture);

// Value.
using VcpuState = std::variant<X86VcpuState, Arm64VcpuState, ToyVcpuState>;

Architecture architecture_of(const VcpuState& state);

}  // namespace stasis
