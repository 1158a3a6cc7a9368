// The complete state of a vCPU out of its registers and back.
#pragma once

#include "core/arm64_state.h"
#include "core/result.h"
#include "hvf/register_file.h"

namespace stasis::hvf {

// All but `power`, which the framework does not know: it is left as kOn for the caller to set.
// An error names the register.
Result<Arm64VcpuState> save_registers(RegisterFile& file);

// Replaces what save_registers() reads. Before it writes anything it checks that the state is
// complete and that every register in it is known; kMismatch naming the register if not, and also
// if this host has not the register or shows another identity than the state's. The vCPU must be
// destroyed after an error. An empty list leaves that part as created.
Result<void> load_registers(const Arm64VcpuState& state, RegisterFile& file);

}  // namespace stasis::hvf
