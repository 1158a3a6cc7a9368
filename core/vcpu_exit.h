// Why a vCPU left the guest.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "core/address.h"

namespace stasis {

enum class IoSpace : std::uint8_t {
  kPort,  // x86 IN and OUT; the address is the port number.
  kMmio,  // A guest-physical address that is not RAM.
};

// Where a device access went. `width_bytes` is 1, 2, 4 or 8.
struct IoAccess {
  IoSpace space = IoSpace::kMmio;
  std::uint64_t address = 0;
  std::uint8_t width_bytes = 0;
  friend bool operator==(const IoAccess&, const IoAccess&) = default;
};

// The guest waits for a value: Vcpu::complete_read() must be called before the next run().
struct ExitIoRead {
  IoAccess access;
};

struct ExitIoWrite {
  IoAccess access;
  std::uint64_t data = 0;  // Zero-extended from width_bytes.
};

// The guest wrote to RAM whose write permission Vm::protect() took away. The instruction has not
// executed; after the permission is given back, run() executes it again.
struct ExitWriteProtected {
  Gpa gpa;
};

// The guest touched RAM that is registered but has no page (Vm::protect to Access::kNone). As
// above.
struct ExitMissingPage {
  Gpa gpa;
  bool is_write = false;
};

// The guest asked its firmware to end the whole machine (PSCI). Every later run() of this vCPU says
// so again.
enum class ShutdownKind : std::uint8_t { kPowerOff, kReset };
struct ExitShutdown {
  ShutdownKind kind = ShutdownKind::kPowerOff;
};

struct ExitHalted {};    // The guest stopped this vCPU (x86 HLT, toy HALT).
struct ExitCanceled {};  // request_exit(), or a limit such as an instruction budget, was reached.

// The guest cannot go on: triple fault, emulation failure, illegal toy instruction.
struct ExitFailed {
  std::string reason;  // A sentence for the user, with the address where it happened.
};

using VcpuExit = std::variant<ExitIoRead, ExitIoWrite, ExitWriteProtected, ExitMissingPage,
                              ExitHalted, ExitCanceled, ExitShutdown, ExitFailed>;

}  // namespace stasis
