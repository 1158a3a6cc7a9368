// The signal that takes a vCPU's thread out of KVM_RUN.
#pragma once

#include "core/result.h"

namespace stasis::kvm {

// The number of the signal. On the first call in the process a handler that does nothing is
// installed for the first real-time signal, counted from SIGRTMIN + 4, that has no handler yet.
//
// The handler carries SA_RESTART: KVM_RUN returns EINTR all the same, because the kernel never
// restarts it, while a device's read() or write() on the same thread is not disturbed by a late
// signal.
Result<int> kick_signal();

// Makes sure that the calling thread does not block the signal.
Result<void> unblock_kick_signal(int signal_number);

}  // namespace stasis::kvm
