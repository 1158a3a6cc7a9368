#include "hvf/sim/vcpu.h"

#include "hvf/register_table.h"

namespace stasis::hvf::sim {
namespace {

constexpr std::uint64_t kMpidrRes1 = std::uint64_t{1} << 31U;
constexpr std::uint64_t kActlrEnTso = 2;

bool is_physical_timer(hv_sys_reg_t reg) {
  return reg == HV_SYS_REG_CNTP_CTL_EL0 || reg == HV_SYS_REG_CNTP_CVAL_EL0 ||
         reg == HV_SYS_REG_CNTP_TVAL_EL0;
}

}  // namespace

// The identity of a fresh vCPU on an M5 Max under macOS 26.4, where it was published; what nobody
// has published is zero here and not to be relied on.
Registers::Registers(Gic gic) : gic_(gic), system_{{HV_SYS_REG_SP_EL0, 0}, {HV_SYS_REG_SP_EL1, 0}} {
  for (const SystemRegister& reg : system_registers()) {
    system_[reg.encoding] = 0;
  }
  system_[HV_SYS_REG_MIDR_EL1] = 0x610f0000;
  system_[HV_SYS_REG_MPIDR_EL1] = kMpidrRes1;
  system_[HV_SYS_REG_ID_AA64MMFR0_EL1] = 0x000010000f100022;
  system_[HV_SYS_REG_ID_AA64PFR0_EL1] = 0x1101000011110011;
  system_[HV_SYS_REG_ID_AA64DFR0_EL1] = 0x10305006;
}

hv_return_t Registers::get(hv_reg_t reg, std::uint64_t& value) const {
  if (reg >= core_.size()) {
    return HV_BAD_ARGUMENT;
  }
  value = core_[reg];
  return HV_SUCCESS;
}

hv_return_t Registers::set(hv_reg_t reg, std::uint64_t value) {
  if (reg >= core_.size()) {
    return HV_BAD_ARGUMENT;
  }
  core_[reg] = value;
  return HV_SUCCESS;
}

hv_return_t Registers::get(hv_simd_fp_reg_t reg, hv_simd_fp_uchar16_t& value) const {
  if (reg >= vectors_.size()) {
    return HV_BAD_ARGUMENT;
  }
  value = vectors_[reg];
  return HV_SUCCESS;
}

hv_return_t Registers::set(hv_simd_fp_reg_t reg, const hv_simd_fp_uchar16_t& value) {
  if (reg >= vectors_.size()) {
    return HV_BAD_ARGUMENT;
  }
  vectors_[reg] = value;
  return HV_SUCCESS;
}

hv_return_t Registers::check(hv_sys_reg_t reg) const {
  if (is_physical_timer(reg) && gic_ == Gic::kAbsent) {
    return HV_UNSUPPORTED;
  }
  return system_.contains(reg) ? HV_SUCCESS : HV_BAD_ARGUMENT;
}

hv_return_t Registers::get(hv_sys_reg_t reg, std::uint64_t& value) const {
  if (const hv_return_t code = check(reg); code != HV_SUCCESS) {
    return code;
  }
  value = system_.at(reg);
  return HV_SUCCESS;
}

hv_return_t Registers::set(hv_sys_reg_t reg, std::uint64_t value) {
  if (const hv_return_t code = check(reg); code != HV_SUCCESS) {
    return code;
  }
  if (reg == HV_SYS_REG_MPIDR_EL1) {
    value |= kMpidrRes1;
  }
  if (reg == HV_SYS_REG_ACTLR_EL1) {
    value &= kActlrEnTso;
  }
  system_[reg] = value;
  return HV_SUCCESS;
}

}  // namespace stasis::hvf::sim
