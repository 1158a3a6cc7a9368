// Instructions, system registers and devices that the monitor uses, by name. AArch64 only.
#pragma once

#include <stdint.h>

namespace stasis::hvf::sim::monitor {

// QEMU's machine "virt" (hw/arm/virt.c of its source): memory map and interrupt numbers.
inline constexpr uint64_t kGicd = 0x08000000;
inline constexpr uint64_t kGicr = 0x080a0000;
inline constexpr uint64_t kGicrStride = 0x20000;
inline constexpr uint64_t kUart = 0x09000000;  // A PL011 (Arm DDI 0183), QEMU's standard streams.
inline constexpr uint64_t kUartIntid = 33;
inline constexpr uint64_t kTimerIntid = 27;  // The virtual timer's, "Server Base System Arch.".
inline constexpr uint64_t kWakeIntid = 1;    // A software-generated interrupt, ours to choose.

constexpr uint64_t redistributor_of(uint64_t pe) {
  return kGicr + pe * kGicrStride;
}

inline uint32_t read32(uint64_t address) {
  return *reinterpret_cast<volatile uint32_t*>(address);
}
inline void write32(uint64_t address, uint32_t value) {
  *reinterpret_cast<volatile uint32_t*>(address) = value;
}

// HCR_EL2: APK and API (pointer authentication does not trap), RW, TSC, TID3, TWI, IMO, FMO, VM.
inline constexpr uint64_t kHcrAlways = UINT64_C(1) << 41 | UINT64_C(1) << 40 | UINT64_C(1) << 31 |
                                       UINT64_C(1) << 19 | UINT64_C(1) << 18 | UINT64_C(1) << 13 |
                                       UINT64_C(1) << 4 | UINT64_C(1) << 3 | UINT64_C(1) << 0;

#define STASIS_READABLE(name, text)                           \
  inline uint64_t read_##name() {                             \
    uint64_t value = 0;                                       \
    asm volatile("mrs %0, " text : "=r"(value) : : "memory"); \
    return value;                                             \
  }
#define STASIS_WRITABLE(name, text)                             \
  inline void write_##name(uint64_t value) {                    \
    asm volatile("msr " text ", %0" : : "r"(value) : "memory"); \
  }

STASIS_WRITABLE(hcr_el2, "hcr_el2")
STASIS_WRITABLE(vtcr_el2, "vtcr_el2")
STASIS_WRITABLE(vttbr_el2, "vttbr_el2")
STASIS_WRITABLE(cptr_el2, "cptr_el2")
STASIS_WRITABLE(mdcr_el2, "mdcr_el2")
STASIS_WRITABLE(cnthctl_el2, "cnthctl_el2")
STASIS_WRITABLE(cntvoff_el2, "cntvoff_el2")
STASIS_READABLE(cntpct_el0, "cntpct_el0")
STASIS_READABLE(cntv_ctl_el0, "cntv_ctl_el0")
STASIS_READABLE(cntv_cval_el0, "cntv_cval_el0")
STASIS_READABLE(cntvct_el0, "cntvct_el0")
STASIS_READABLE(esr_el2, "esr_el2")
STASIS_READABLE(elr_el2, "elr_el2")
STASIS_READABLE(far_el2, "far_el2")
STASIS_READABLE(hpfar_el2, "hpfar_el2")
STASIS_READABLE(par_el1, "par_el1")
STASIS_WRITABLE(par_el1, "par_el1")
// The GIC's by encoding: assemblers know these names only for a CPU that has one.
STASIS_WRITABLE(icc_sre_el2, "s3_4_c12_c9_5")
STASIS_WRITABLE(ich_hcr_el2, "s3_4_c12_c11_0")
STASIS_WRITABLE(icc_pmr_el1, "s3_0_c4_c6_0")
STASIS_WRITABLE(icc_igrpen1_el1, "s3_0_c12_c12_7")
STASIS_WRITABLE(icc_sgi1r_el1, "s3_0_c12_c11_5")
STASIS_WRITABLE(icc_eoir1_el1, "s3_0_c12_c12_1")
STASIS_READABLE(icc_iar1_el1, "s3_0_c12_c12_0")
// Likewise, because the program is built without floating point: FPCR and FPSR.
STASIS_READABLE(fpcr, "s3_3_c4_c4_0")
STASIS_WRITABLE(fpcr, "s3_3_c4_c4_0")
STASIS_READABLE(fpsr, "s3_3_c4_c4_1")
STASIS_WRITABLE(fpsr, "s3_3_c4_c4_1")

inline void isb() {
  asm volatile("isb" : : : "memory");
}
inline void dsb() {
  asm volatile("dsb sy" : : : "memory");
}
inline void full_barrier() {
  asm volatile("dmb sy" : : : "memory");
}
inline void wait_for_interrupt() {
  asm volatile("wfi" : : : "memory");
}
inline void flush_own_tlb() {
  asm volatile("tlbi vmalls12e1" : : : "memory");
}
inline void flush_all_tlbs() {
  asm volatile("tlbi vmalls12e1is" : : : "memory");
}
// The result is in PAR_EL1.
inline void translate_for_el1_read(uint64_t address) {
  asm volatile("at s1e1r, %0" : : "r"(address) : "memory");
}
// A store that changes nothing, whoever else stores to the same place.
inline void add_zero_atomically(uint64_t address) {
  asm volatile(".arch_extension lse\n\tldadd xzr, x9, [%0]" : : "r"(address) : "x9", "memory");
}

// PSCI CPU_ON (Arm DEN 0022), which QEMU answers. 0 is success.
inline uint64_t power_on(uint64_t pe, uint64_t entry) {
  register uint64_t x0 asm("x0") = 0xc4000003;
  register uint64_t x1 asm("x1") = pe;  // MPIDR_EL1.Aff0
  register uint64_t x2 asm("x2") = entry;
  register uint64_t x3 asm("x3") = pe;  // What the PE begins with in x0.
  asm volatile("smc #0" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3) : : "memory");
  return x0;
}

// What both sides access atomically.
inline uint32_t load(const uint32_t& word) {
  return __atomic_load_n(&word, __ATOMIC_RELAXED);
}
inline uint64_t load_acquire(const uint64_t& word) {
  return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}
inline uint32_t load_acquire(const uint32_t& word) {
  return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}
inline void store_release(uint32_t& word, uint32_t value) {
  __atomic_store_n(&word, value, __ATOMIC_RELEASE);
}

}  // namespace stasis::hvf::sim::monitor
