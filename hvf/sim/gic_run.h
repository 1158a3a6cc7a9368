// What the framework does itself, between hv_vcpu_run() and the guest, in a VM with an interrupt
// controller: its registers, waiting for interrupts, and the virtual timer's.
#pragma once

#include "core/result.h"
#include "hvf/sim/process.h"

namespace stasis::hvf::sim {

// Before a vCPU is run: what it is told of its timer follows what the host has done to that.
void forget_stale_timer(Vcpu& vcpu, Machine& machine);

// After the guest of a VM with a GIC has left: true if that was for the GIC and is dealt with, so
// that the guest is to be entered again. On the vCPU's thread. An Error when QEMU failed.
Result<bool> answer_for_gic(Vcpu& vcpu, Machine& machine, const Mailbox& box);

}  // namespace stasis::hvf::sim
