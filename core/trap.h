// Exits whose handler acts on the vCPU's registers: what a guest without a kernel of its own needs,
// whose system calls and faults are answered by the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/device.h"
#include "core/result.h"
#include "core/x86_state.h"

namespace stasis {

// The registers that a trap handler exchanges. Value.
struct X86TrapRegisters {
  X86GeneralRegisters general;
  X86Segment cs, ss;  // Their privilege level is the vCPU's.
  std::uint64_t fs_base = 0, gs_base = 0;
  std::uint64_t cr2 = 0;  // Read only.
};

// The time-stamp counter that a guest reads is the host's RDTSC plus `offset`, at the same rate.
// Value.
struct X86GuestCounter {
  std::uint64_t offset = 0;
  std::uint32_t khz = 0;
};

// A vCPU's registers between an exit and the next entry, as cheaply as the backend can; part of a
// Vcpu and as thread-affine.
class X86TrapAccess {
 public:
  virtual ~X86TrapAccess() = default;
  // As the exit left them. After a device access the instruction pointer is unspecified until
  // set_registers() replaces it: backends differ in whether the access has advanced it.
  virtual Result<X86TrapRegisters> registers() = 0;
  // Where the next run() begins, all but cr2: the instruction that exited is not completed.
  virtual Result<void> set_registers(const X86TrapRegisters& registers) = 0;
  // The XSAVE image in standard format and the host's full size. set_extended_state() answers
  // kInvalidArgument for an image that the processor would refuse, and changes nothing then.
  virtual Result<std::vector<std::byte>> extended_state() = 0;
  virtual Result<void> set_extended_state(std::span<const std::byte> xsave) = 0;
  // After an ExitCanceled: no exception or interrupt is on its way to the instruction that comes
  // next, so that other registers may take the place of these.
  virtual Result<bool> is_between_instructions() = 0;
  // Nothing where the counter is not one to tell the time from: its rate is unknown or not
  // constant, or the guest's runs at another rate.
  [[nodiscard]] virtual std::optional<X86GuestCounter> guest_counter() = 0;
};

// A device whose writes are traps (Device::trap_handler()): called instead of Device::write(), on
// the vCPU's thread. A Machine has at most one.
class TrapHandler {
 public:
  virtual ~TrapHandler() = default;
  virtual Result<WriteOutcome> on_trap(std::uint64_t offset, X86TrapAccess& cpu,
                                       DeviceHost& host) = 0;
  // The vCPU was taken out of the guest at an instruction boundary, as the last plan asked; now and
  // then without a reason that is still there.
  virtual Result<WriteOutcome> on_interrupt(X86TrapAccess& cpu, DeviceHost& host) = 0;
  // Before a vCPU enters the guest after it has been outside: started, restored, resumed, woken.
  virtual Result<InterruptPlan> before_entry(X86TrapAccess& cpu, DeviceHost& host) = 0;
};

}  // namespace stasis
