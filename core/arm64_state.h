// Everything of an arm64 vCPU that a guest can observe, as portable values.
// Source: Arm ARM (DDI 0487) D1 (PSTATE), D19 (system registers); GIC: IHI 0069 12.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace stasis {

// `encoding` is op0[15:14] op1[13:11] CRn[10:7] CRm[6:3] op2[2:0], as in MRS and MSR.
struct Arm64SystemRegister {
  std::uint16_t encoding = 0;
  std::uint64_t value = 0;
  friend bool operator==(const Arm64SystemRegister&, const Arm64SystemRegister&) = default;
};

struct Arm64Vector {
  std::uint64_t low = 0, high = 0;
  friend bool operator==(const Arm64Vector&, const Arm64Vector&) = default;
};

enum class Arm64PowerState : std::uint8_t { kOn = 0, kOff = 1, kSuspended = 2 };

struct Arm64VirtualTimer {
  std::uint64_t offset = 0;  // CNTVOFF: guest virtual count = host count - offset.
  bool masked = false;       // The framework's timer mask, not CNTV_CTL.IMASK.
  friend bool operator==(const Arm64VirtualTimer&, const Arm64VirtualTimer&) = default;
};

// Value. An empty list leaves that part as created.
struct Arm64VcpuState {
  std::array<std::uint64_t, 31> x = {};
  std::uint64_t pc = 0, pstate = 0;  // PSTATE in the layout of SPSR_EL2.
  std::uint64_t sp_el0 = 0, sp_el1 = 0;
  std::array<Arm64Vector, 32> q = {};
  std::uint64_t fpcr = 0, fpsr = 0;
  std::vector<Arm64SystemRegister> system;             // Ascending encoding.
  std::vector<Arm64SystemRegister> gic_cpu_interface;  // ICC_*_EL1, ascending encoding.
  // Of the vCPU's own interrupts (IHI 0069, 12.11): `encoding` is the register's offset in the
  // second frame of its redistributor, ascending.
  std::vector<Arm64SystemRegister> gic_redistributor;
  Arm64VirtualTimer virtual_timer;
  bool irq_pending = false, fiq_pending = false;
  Arm64PowerState power = Arm64PowerState::kOn;
  friend bool operator==(const Arm64VcpuState&, const Arm64VcpuState&) = default;
};

}  // namespace stasis
