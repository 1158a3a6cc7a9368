// From a signal that is due to its effect: a handler's frame, or the end of the process.
#pragma once

#include "guests/linux/cpu.h"
#include "guests/linux/kernel/process.h"

namespace stasis::linux_guest {

// Everything that is due to the thread, whose registers are on `cpu`. May end the process.
void deliver_signals(Process& process, Thread& thread, TrapCpu& cpu);

// Turns a fault of the thread into the signal that Linux would send. A signal that is blocked or
// ignored ends the process.
void send_fault(Process& process, Thread& thread, TrapCpu& cpu, const Fault& fault);
[[nodiscard]] SignalInfo info_of_fault(const AddressSpace& memory, const Fault& fault,
                                       std::uint64_t rip);

}  // namespace stasis::linux_guest
