// The processor as the kernel of a Linux guest sees it when the process has trapped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/x86_state.h"

namespace stasis::linux_guest {

// What belongs to one thread of the process and must be switched with it. Value.
struct ThreadContext {
  X86GeneralRegisters general;
  std::uint64_t fs_base = 0;
  std::uint64_t gs_base = 0;
  std::vector<std::byte> xsave;  // Standard format, the host's full size; empty: the initial state.
};

// The registers of the vCPU while it is out of the guest in a trap. What is set takes effect when
// the guest is entered again. At a system call `general` is already as the return from it would
// find it: rip behind the SYSCALL instruction, rflags the caller's; only rax is to be set.
// Called on the vCPU's thread.
class TrapCpu {
 public:
  virtual ~TrapCpu() = default;
  [[nodiscard]] virtual X86GeneralRegisters& general() = 0;
  [[nodiscard]] virtual std::uint64_t fs_base() const = 0;
  [[nodiscard]] virtual std::uint64_t gs_base() const = 0;
  virtual void set_fs_base(std::uint64_t value) = 0;
  virtual void set_gs_base(std::uint64_t value) = 0;
  // The whole XSAVE image; costs a call of the hypervisor each, so only a thread switch and a
  // signal ask for it. A bad image (from a guest's signal frame) is refused: false.
  [[nodiscard]] virtual std::vector<std::byte> extended() = 0;
  [[nodiscard]] virtual bool set_extended(std::span<const std::byte> xsave) = 0;
};

// Why the process trapped, other than by SYSCALL. Value.
struct Fault {
  enum class Kind : std::uint8_t { kPage, kProtection, kIllegal, kDivide, kBreakpoint, kOther };
  Kind kind = Kind::kOther;
  std::uint8_t vector = 0;       // SDM vol. 3A, table 6-1.
  std::uint64_t error_code = 0;  // As the processor pushed it; 0 where there is none.
  std::uint64_t address = 0;     // CR2 of a page fault.
};

// What the process's kernel wants after a trap. Value.
enum class AfterTrap : std::uint8_t {
  kContinue,  // Back into the process, as TrapCpu now is.
  kWait,      // Every thread waits for something from outside: a request, a timer (see Kernel).
  kExited,    // The process is gone; Kernel::exit_status() says how.
};

}  // namespace stasis::linux_guest
