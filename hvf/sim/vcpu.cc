#include "hvf/sim/vcpu.h"

#include <algorithm>
#include <bit>

#include "hvf/register_table.h"
#include "hvf/sim/monitor/registers.h"

namespace stasis::hvf::sim {
namespace {

constexpr std::uint64_t kMpidrRes1 = std::uint64_t{1} << 31U;
constexpr std::uint64_t kActlrEnTso = 2;

#define STASIS_ENCODING(encoding) encoding,
constexpr auto kStateRegisters =
    std::to_array<std::uint16_t>({STASIS_SIM_STATE_REGISTERS(STASIS_ENCODING)});
constexpr auto kIdentityRegisters =
    std::to_array<std::uint16_t>({STASIS_SIM_IDENTITY_REGISTERS(STASIS_ENCODING)});
#undef STASIS_ENCODING
static_assert(kStateRegisters.size() + kIdentityRegisters.size() <= kRegistersMax);

constexpr std::uint16_t kVpidr = 0xe000, kVmpidr = 0xe005;

// A guest reads these two at EL2 as its MIDR_EL1 and MPIDR_EL1.
constexpr std::uint16_t guest_name(std::uint16_t encoding) {
  if (encoding == kVpidr) {
    return HV_SYS_REG_MIDR_EL1;
  }
  return encoding == kVmpidr ? std::uint16_t{HV_SYS_REG_MPIDR_EL1} : encoding;
}

// What a guest may see of the PE's identity: nothing of EL2 and EL3, AArch32, SVE, SME, memory
// tagging, performance monitors and tracing, which the framework's guests have not or the monitor
// does not switch; addresses of 40 bits.
std::uint64_t as_guest_sees(std::uint16_t encoding, std::uint64_t value) {
  switch (encoding) {
    case HV_SYS_REG_MIDR_EL1:
      return 0x610f0000;              // As published for Apple's.
    case HV_SYS_REG_ID_AA64PFR0_EL1:  // With the GIC's system registers.
      return (value & 0xff0f'0000'f0ff'0000) | 0x0100'0011;
    case HV_SYS_REG_ID_AA64PFR1_EL1:
      return value & 0xff;  // BT, SSBS.
    case HV_SYS_REG_ID_AA64DFR0_EL1:
      return value & 0xf0f0f00f;  // Breakpoints, watchpoints, the version.
    case HV_SYS_REG_ID_AA64MMFR0_EL1:
      return (value & 0x0000'ffff'ffff'fff0) | 2;
    case HV_SYS_REG_ID_AA64MMFR1_EL1:
      return value & 0x0000'00ff'ffff'f0ff;
    case HV_SYS_REG_ID_AA64MMFR2_EL1:
      return value & 0x0000'000f'f0ff'ffff;
    case HV_SYS_REG_ID_AA64ISAR0_EL1:
    case HV_SYS_REG_ID_AA64ISAR1_EL1:
      return value;
    default:
      return 0;
  }
}

bool is_physical_timer(hv_sys_reg_t reg) {
  return reg == HV_SYS_REG_CNTP_CTL_EL0 || reg == HV_SYS_REG_CNTP_CVAL_EL0 ||
         reg == HV_SYS_REG_CNTP_TVAL_EL0;
}

}  // namespace

Registers::Registers(GicPresent gic, const Mailbox& fresh)
    : gic_(gic), system_{{HV_SYS_REG_SP_EL0, 0}, {HV_SYS_REG_SP_EL1, 0}} {
  for (const SystemRegister& reg : system_registers()) {
    system_[reg.encoding] = 0;
  }
  for (std::size_t i = 0; i < kIdentityRegisters.size(); ++i) {
    const std::size_t number = kStateRegisters.size() + i;
    const std::uint64_t value = fresh.is_absent[number] != 0 ? 0 : fresh.system[number];
    system_[kIdentityRegisters[i]] = as_guest_sees(kIdentityRegisters[i], value);
  }
  system_[HV_SYS_REG_MPIDR_EL1] = kMpidrRes1;
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
  if (is_physical_timer(reg) && gic_ == GicPresent::kNo) {
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

std::uint64_t Registers::identity(std::uint16_t encoding) const {
  const auto found = system_.find(encoding);
  return found == system_.end() ? 0 : found->second;
}

void Registers::store_general(Mailbox& box) const {
  std::copy_n(core_.begin(), HV_REG_PC, box.x);
  box.pc = core_[HV_REG_PC];
  box.cpsr = core_[HV_REG_CPSR];
}

void Registers::load_general(const Mailbox& box) {
  std::copy_n(box.x, HV_REG_PC, core_.begin());
  core_[HV_REG_PC] = box.pc;
  core_[HV_REG_CPSR] = box.cpsr;
}

void Registers::store_state(Mailbox& box) const {
  for (std::size_t i = 0; i < kStateRegisters.size(); ++i) {
    box.system[i] = system_.at(guest_name(kStateRegisters[i]));
  }
  for (std::size_t i = 0; i < vectors_.size(); ++i) {
    const auto halves = std::bit_cast<std::array<std::uint64_t, 2>>(vectors_[i]);
    std::ranges::copy(halves, box.q[i]);
  }
  box.fpcr = core_[HV_REG_FPCR];
  box.fpsr = core_[HV_REG_FPSR];
}

void Registers::load_state(const Mailbox& box) {
  for (std::size_t i = 0; i < kStateRegisters.size(); ++i) {
    if (box.is_absent[i] == 0) {
      system_[guest_name(kStateRegisters[i])] = box.system[i];
    }
  }
  for (std::size_t i = 0; i < vectors_.size(); ++i) {
    vectors_[i] = std::bit_cast<hv_simd_fp_uchar16_t>(std::array{box.q[i][0], box.q[i][1]});
  }
  core_[HV_REG_FPCR] = box.fpcr;
  core_[HV_REG_FPSR] = box.fpsr;
}

}  // namespace stasis::hvf::sim
