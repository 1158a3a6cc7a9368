// The frame on the stack of the process in which a signal handler runs: what the handler finds
// there, and how rt_sigreturn(2) goes back. Layout: arch/x86/include/uapi/asm/sigcontext.h and
// asm-generic/siginfo.h of Linux.
#pragma once

#include "guests/linux/cpu.h"
#include "guests/linux/kernel/thread.h"
#include "guests/linux/kernel/user_access.h"
#include "guests/linux/signals/signal_set.h"

namespace stasis::linux_guest {

// Makes the thread, whose registers are on `cpu`, run the handler of `action`. False: the stack
// cannot take the frame.
[[nodiscard]] bool push_signal_frame(TrapCpu& cpu, Thread& thread, const UserAccess& user,
                                     const SignalInfo& info, const SignalAction& action);
// Undoes the frame that the stack pointer is just above of. False: it is not one.
[[nodiscard]] bool restore_signal_frame(TrapCpu& cpu, Thread& thread, const UserAccess& user);

[[nodiscard]] SysResult put_signal_info(const UserAccess& user, UserAddress to,
                                        const SignalInfo& info);
[[nodiscard]] bool is_on_alternate_stack(const AlternateStack& stack, std::uint64_t rsp);
// The state that FNINIT and a fresh SSE unit have, in the standard XSAVE format.
[[nodiscard]] std::vector<std::byte> initial_xsave(std::size_t size_bytes);

}  // namespace stasis::linux_guest
