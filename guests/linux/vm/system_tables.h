// The few privileged structures of a Linux guest, which has no kernel of its own: descriptor
// tables, a TSS, three kinds of stub, and the registers that go with them. Right for guests that
// ring 0 runs natively (VT-x, SVM) and for the PVM module, where SYSCALL stays in ring 3 and ring 0
// is emulated.
//
//   system call   LSTAR names an OUT on a page that ring 3 may execute. It clobbers nothing; the
//   host
//                 takes the registers from the exit and sets those to go on with, privilege level
//                 included. Neither SYSRET nor IRETQ is executed.
//   exception     The IDT gate of vector n is one OUT to port kPortBase + n in ring 0. The frame
//   that
//                 the processor pushed tells the rest.
//   waiting       RDTSC and an OUT in ring 3, where a vCPU is parked: what it does first when it is
//                 woken, or restored, is to say when.
//   rewriting     Ring 0 copies page-table entries onto themselves (PageTables::rewrites()), so
//   that
//                 KVM's shadow pages see a guest that writes them, and loads CR3 again for a
//                 processor that walks them itself.
#pragma once

#include <cstdint>

#include "core/result.h"
#include "core/trap.h"
#include "core/x86_state.h"
#include "guests/linux/vm/guest_ram.h"
#include "guests/linux/vm/page_tables.h"
#include "guests/x86_boot.h"

namespace stasis::linux_guest::vm {

// Writes the structures into fresh RAM of `memory_bytes`.
void write_system_tables(GuestRam& ram, std::uint64_t memory_bytes, PageTables& tables);

// Ring 3 at `general`, with every MSR and control register as the stubs need them.
X86VcpuState start_state(const X86GeneralRegisters& general, const guests::X86Features& features);

X86Segment user_code();
X86Segment user_stack();
X86Segment kernel_code();
X86Segment kernel_stack();

// What the processor pushed at an exception (Intel SDM vol. 3A, 6.14.2). Value.
struct ExceptionFrame {
  std::uint64_t error_code = 0;  // 0 where the vector has none.
  std::uint64_t rip = 0, cs = 0, rflags = 0, rsp = 0;
  [[nodiscard]] bool is_from_user() const { return (cs & 3U) == 3; }
};
ExceptionFrame read_exception_frame(const GuestRam& ram, std::uint8_t vector);

// Moves up to as many of `rewrites` as fit into the list and returns the registers that execute
// it; kPortRewritten follows.
X86TrapRegisters begin_rewriting(GuestRam& ram, std::vector<EntryRun>& rewrites,
                                 const X86TrapRegisters& user);

}  // namespace stasis::linux_guest::vm
