// One simulated vCPU: the registers that the framework keeps for it. It executes nothing.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <thread>

#include <Hypervisor/hv_types.h>
#include <Hypervisor/hv_vcpu_types.h>

namespace stasis::hvf::sim {

// Whether the VM has a GIC device: the physical timer's registers exist only then.
enum class Gic : std::uint8_t { kAbsent, kPresent };

// What the framework stores for a vCPU and a caller can read back. Thread-compatible.
class Registers {
 public:
  explicit Registers(Gic gic);

  // HV_BAD_ARGUMENT for a number that names no register.
  hv_return_t get(hv_reg_t reg, std::uint64_t& value) const;
  hv_return_t set(hv_reg_t reg, std::uint64_t value);
  hv_return_t get(hv_simd_fp_reg_t reg, hv_simd_fp_uchar16_t& value) const;
  hv_return_t set(hv_simd_fp_reg_t reg, const hv_simd_fp_uchar16_t& value);
  // HV_UNSUPPORTED for the physical timer without a GIC. MPIDR_EL1 keeps its bit 31 and ACTLR_EL1
  // only its bit 1, as the framework's do; other registers keep every bit.
  hv_return_t get(hv_sys_reg_t reg, std::uint64_t& value) const;
  hv_return_t set(hv_sys_reg_t reg, std::uint64_t value);

 private:
  [[nodiscard]] hv_return_t check(hv_sys_reg_t reg) const;

  const Gic gic_;
  std::array<std::uint64_t, HV_REG_CPSR + 1> core_ = {};
  std::array<hv_simd_fp_uchar16_t, 32> vectors_ = {};
  std::map<std::uint16_t, std::uint64_t> system_;
};

// Guarded by the process's lock. A caller of the framework reads `exit` outside it, on the thread
// that owns the vCPU, which is the only one that changes it.
struct Vcpu {
  Vcpu(std::thread::id creator, std::uint32_t index, Gic gic)
      : owner(creator), creation_index(index), registers(gic) {}

  const std::thread::id owner;
  const std::uint32_t creation_index;
  Registers registers;
  hv_vcpu_exit_t exit = {};
  std::array<bool, 2> pending = {};  // IRQ, FIQ.
  bool timer_masked = false;
  std::uint64_t timer_offset = 0;
  bool traps_debug_exceptions = false, traps_debug_registers = false;
  bool cancel_requested = false;
};

}  // namespace stasis::hvf::sim
