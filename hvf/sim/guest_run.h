// hv_vcpu_run(), and the state of a vCPU between its processing element and the framework's caller.
#pragma once

#include <Hypervisor/hv_types.h>

#include "core/result.h"
#include "hvf/sim/process.h"

namespace stasis::hvf::sim {

// On the vCPU's thread. An Error when QEMU failed; what is wrong with the guest is an exit.
Result<hv_return_t> run_guest(Vcpu& vcpu, Machine& machine);

// The guest-physical address of the abort with which the guest has left.
hv_ipa_t fault_address(const Mailbox& box);

// Makes Registers the current state. `renew`: also if they are: a timer's state changes by itself.
enum class Fetch : std::uint8_t { kIfNeeded, kRenew };
Result<void> fetch_state(Vcpu& vcpu, Machine& machine, Fetch fetch = Fetch::kIfNeeded);

}  // namespace stasis::hvf::sim
