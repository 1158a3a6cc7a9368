// The floor of a restore's fixed part: what KVM itself needs from nothing to a guest's first
// instruction, by raw requests and nothing else.
//
// The sequence, as a C program would write it:
//   mmap the guest's RAM (4 KiB pages, untouched) and write page tables and five instructions
//   KVM_CREATE_VM
//   KVM_SET_USER_MEMORY_REGION   one slot with all RAM
//   KVM_CREATE_VCPU, mmap its run structure
//   KVM_GET_SREGS, KVM_SET_SREGS 64-bit mode, ring 3, paging
//   KVM_SET_REGS
//   KVM_RUN                      the guest's first instruction is RDTSC; it stores the value to
//                                memory and leaves by a store to an address without memory
// Where the guest's counter is not the host's, KVM is asked for the relation afterwards.
// Opening /dev/kvm and asking its run structure's size come before: a monitor does that once.
#pragma once

#include <cstdint>

#include "core/result.h"

namespace stasis::experiments {

// Nanoseconds. `first_instruction` is the whole, from before the mmap to the guest's RDTSC; the
// others are its parts. Value.
struct BareKvmTimes {
  std::int64_t open = 0;  // Before the begin; not part of the whole.
  std::int64_t memory = 0, create_vm = 0, slot = 0, create_vcpu = 0, registers = 0, enter = 0;
  std::int64_t first_instruction = 0;
  std::int64_t error = 0;  // Bound of the conversion from the guest's counter.
};

// `memory_bytes` is a multiple of 2 MiB, at least 4 MiB. kNotSupported without usable /dev/kvm or
// if the guest's counter cannot be converted into the host's; kBackend if KVM refuses a step,
// naming it.
Result<BareKvmTimes> measure_bare_kvm(std::uint64_t memory_bytes);

}  // namespace stasis::experiments
