// Where the structures live that the processor itself reads on a guest's behalf.
#pragma once

#include "core/address.h"
#include "core/x86_state.h"
#include "kvm/memory_slots.h"

namespace stasis::kvm {

// True if a guest in ring 3 of 64-bit mode with 4-level paging has all page tables that are
// reachable from CR3, and its GDT, IDT, TSS and ring-0 stacks, below `limit`. Anything else, also a
// set of tables too large to look at quickly, is false. No vCPU may be in the guest. The guest's
// tables are not trusted: every address is checked, and the walk is bounded.
//
// Why it matters: while RAM above `limit` is not registered yet, an access by an *instruction* is
// completed by the backend, but a page-table or descriptor fetch by the processor would fail.
bool tables_are_below(const MemorySlots& slots, const X86SystemRegisters& system, Gpa limit);

}  // namespace stasis::kvm
