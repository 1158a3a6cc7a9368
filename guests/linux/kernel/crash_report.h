// What is said of a process that came to a bad end.
#pragma once

#include <cstdint>
#include <string>

#include "guests/linux/cpu.h"
#include "guests/linux/kernel/user_access.h"
#include "guests/linux/signals/signal_set.h"

namespace stasis::linux_guest {

// Of an instruction, or where a call returns to: then the call before it is what is meant.
enum class CodeAddress : std::uint8_t { kInstruction, kReturn };

// "0x7f..1234 (getenv+0x14, /usr/lib/x86_64-linux-gnu/libc.so.6+0x1234)": function, if the file
// names it, and offset in the file.
[[nodiscard]] std::string describe_code_address(const AddressSpace& memory, std::uint64_t address,
                                                CodeAddress kind);
// Several lines: signal and its cause, registers, frames by the chain of rbp.
[[nodiscard]] std::string crash_report(AddressSpace& memory, const X86GeneralRegisters& general,
                                       const SignalInfo& info);

}  // namespace stasis::linux_guest
