// One simulated vCPU: the registers that the framework keeps for it, and where they are.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <thread>

#include <Hypervisor/hv_types.h>
#include <Hypervisor/hv_vcpu_types.h>

#include "hvf/sim/monitor/mailbox.h"

namespace stasis::hvf::sim {

// Whether the VM has a GIC device: the physical timer's registers exist only then.
enum class GicPresent : std::uint8_t { kNo, kYes };

// What the framework stores for a vCPU and a caller can read back. Thread-compatible.
class Registers {
 public:
  // Everything zero but the identity, which is that of the PE whose fresh state is in `fresh`, as
  // far as a guest may see it.
  Registers(GicPresent gic, const Mailbox& fresh);

  // HV_BAD_ARGUMENT for a number that names no register.
  hv_return_t get(hv_reg_t reg, std::uint64_t& value) const;
  hv_return_t set(hv_reg_t reg, std::uint64_t value);
  hv_return_t get(hv_simd_fp_reg_t reg, hv_simd_fp_uchar16_t& value) const;
  hv_return_t set(hv_simd_fp_reg_t reg, const hv_simd_fp_uchar16_t& value);
  // HV_UNSUPPORTED for the physical timer without a GIC. MPIDR_EL1 keeps its bit 31 and ACTLR_EL1
  // only its bit 1, as the framework's do; of others the PE decides what sticks when it has run.
  hv_return_t get(hv_sys_reg_t reg, std::uint64_t& value) const;
  hv_return_t set(hv_sys_reg_t reg, std::uint64_t value);

  // What a guest reads there: 0 for an identity register that the framework does not offer.
  [[nodiscard]] std::uint64_t identity(std::uint16_t encoding) const;

  // X0 to X30, PC and CPSR: part of every entry and exit.
  void store_general(Mailbox& box) const;
  void load_general(const Mailbox& box);
  // All others that the PE has.
  void store_state(Mailbox& box) const;
  void load_state(const Mailbox& box);

 private:
  [[nodiscard]] hv_return_t check(hv_sys_reg_t reg) const;

  const GicPresent gic_;
  std::array<std::uint64_t, HV_REG_CPSR + 1> core_ = {};
  std::array<hv_simd_fp_uchar16_t, 32> vectors_ = {};
  std::map<std::uint16_t, std::uint64_t> system_;
};

// The owner's, but for the last two: another thread's call never touches the rest. A caller of the
// framework reads `exit`, too, on the thread that owns the vCPU.
struct Vcpu {
  Vcpu(std::thread::id creator, std::uint32_t index, std::uint32_t carrier, GicPresent gic,
       const Mailbox& fresh)
      : owner(creator), creation_index(index), pe(carrier), registers(gic, fresh) {}

  const std::thread::id owner;
  const std::uint32_t creation_index;
  const std::uint32_t pe;
  Registers registers;
  // Where the state is that store_state() and load_state() move; in at least one of the two.
  bool host_is_current = true, pe_is_current = false;
  hv_vcpu_exit_t exit = {};
  std::array<bool, 2> pending = {};  // IRQ, FIQ.
  bool timer_masked = false;
  // In a VM with a GIC: the timer's line as its guest left, and whether the host may have changed
  // that since.
  bool timer_line = false, timer_is_stale = false;
  std::uint64_t timer_offset = 0;
  bool traps_debug_exceptions = false, traps_debug_registers = false;
  std::uint64_t known_translations = 0;  // Machine::translations that its PE has not outlived.
  // Whether it is in hv_vcpu_run(), and whether its PE may be in the guest. Sequentially
  // consistent, see Machine::translations.
  std::atomic<bool> in_run = false, in_guest = false;
};

}  // namespace stasis::hvf::sim
