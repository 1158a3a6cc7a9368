#include "hvf/framework_registers.h"

#include <array>
#include <bit>
#include <string>

#include <Hypervisor/Hypervisor.h>

#include "hvf/framework_error.h"

namespace stasis::hvf {
namespace {

static_assert(static_cast<std::uint32_t>(CoreRegister::kPc) == HV_REG_PC);
static_assert(static_cast<std::uint32_t>(CoreRegister::kCpsr) == HV_REG_CPSR);

Result<void> checked(hv_return_t code, Errc kind = Errc::kBackend) {
  return framework_result(code, "", kind);
}

// The framework says HV_BAD_ARGUMENT for a register that it does not offer and HV_UNSUPPORTED for
// one that this VM has not. HV_BAD_ARGUMENT is also its answer on the wrong thread;
// save_registers() reads X0 first, so that this does not pass for an absent register.
Result<void> system_checked(hv_return_t code) {
  const bool is_absent = code == HV_BAD_ARGUMENT || code == HV_UNSUPPORTED;
  return checked(code, is_absent ? Errc::kNotSupported : Errc::kBackend);
}

hv_gic_redistributor_reg_t second_frame(std::uint16_t offset) {
  constexpr std::uint32_t kSecondFrame = 0x10000;
  return static_cast<hv_gic_redistributor_reg_t>(kSecondFrame + offset);
}

class FrameworkRegisters final : public RegisterFile {
 public:
  FrameworkRegisters(hv_vcpu_t vcpu, GicPresence gic) : vcpu_(vcpu), gic_(gic) {}

  Result<std::uint64_t> get(CoreRegister reg) override {
    std::uint64_t value = 0;
    STASIS_TRY(checked(hv_vcpu_get_reg(vcpu_, static_cast<hv_reg_t>(reg), &value)));
    return value;
  }
  Result<void> set(CoreRegister reg, std::uint64_t value) override {
    return checked(hv_vcpu_set_reg(vcpu_, static_cast<hv_reg_t>(reg), value));
  }

  Result<Arm64Vector> get_vector(std::uint32_t index) override {
    hv_simd_fp_uchar16_t value = {};
    STASIS_TRY(
        checked(hv_vcpu_get_simd_fp_reg(vcpu_, static_cast<hv_simd_fp_reg_t>(index), &value)));
    // Byte 0 is bits [7:0]; hosts are little-endian.
    const auto halves = std::bit_cast<std::array<std::uint64_t, 2>>(value);
    return Arm64Vector{halves[0], halves[1]};
  }
  Result<void> set_vector(std::uint32_t index, const Arm64Vector& vector) override {
    const auto value =
        std::bit_cast<hv_simd_fp_uchar16_t>(std::array<std::uint64_t, 2>{vector.low, vector.high});
    return checked(hv_vcpu_set_simd_fp_reg(vcpu_, static_cast<hv_simd_fp_reg_t>(index), value));
  }

  Result<std::uint64_t> get_system(std::uint16_t encoding) override {
    std::uint64_t value = 0;
    STASIS_TRY(
        system_checked(hv_vcpu_get_sys_reg(vcpu_, static_cast<hv_sys_reg_t>(encoding), &value)));
    return value;
  }
  Result<void> set_system(std::uint16_t encoding, std::uint64_t value) override {
    return system_checked(hv_vcpu_set_sys_reg(vcpu_, static_cast<hv_sys_reg_t>(encoding), value));
  }

  [[nodiscard]] bool has_gic() const override { return gic_ == GicPresence::kPresent; }
  Result<std::uint64_t> get_gic(std::uint16_t encoding) override {
    std::uint64_t value = 0;
    STASIS_TRY(checked(hv_gic_get_icc_reg(vcpu_, static_cast<hv_gic_icc_reg_t>(encoding), &value)));
    return value;
  }
  Result<void> set_gic(std::uint16_t encoding, std::uint64_t value) override {
    return checked(hv_gic_set_icc_reg(vcpu_, static_cast<hv_gic_icc_reg_t>(encoding), value));
  }

  Result<std::uint64_t> get_redistributor(std::uint16_t offset) override {
    std::uint64_t value = 0;
    STASIS_TRY(checked(hv_gic_get_redistributor_reg(vcpu_, second_frame(offset), &value)));
    return value;
  }
  Result<void> set_redistributor(std::uint16_t offset, std::uint64_t value) override {
    return checked(hv_gic_set_redistributor_reg(vcpu_, second_frame(offset), value));
  }

  Result<Arm64VirtualTimer> get_timer() override {
    Arm64VirtualTimer timer;
    STASIS_TRY(checked(hv_vcpu_get_vtimer_offset(vcpu_, &timer.offset)));
    STASIS_TRY(checked(hv_vcpu_get_vtimer_mask(vcpu_, &timer.masked)));
    return timer;
  }
  Result<void> set_timer(const Arm64VirtualTimer& timer) override {
    STASIS_TRY(checked(hv_vcpu_set_vtimer_offset(vcpu_, timer.offset)));
    return checked(hv_vcpu_set_vtimer_mask(vcpu_, timer.masked));
  }

  Result<PendingLines> get_pending() override {
    PendingLines lines;
    STASIS_TRY(checked(hv_vcpu_get_pending_interrupt(vcpu_, HV_INTERRUPT_TYPE_IRQ, &lines.irq)));
    STASIS_TRY(checked(hv_vcpu_get_pending_interrupt(vcpu_, HV_INTERRUPT_TYPE_FIQ, &lines.fiq)));
    return lines;
  }
  Result<void> set_pending(const PendingLines& lines) override {
    STASIS_TRY(checked(hv_vcpu_set_pending_interrupt(vcpu_, HV_INTERRUPT_TYPE_IRQ, lines.irq)));
    return checked(hv_vcpu_set_pending_interrupt(vcpu_, HV_INTERRUPT_TYPE_FIQ, lines.fiq));
  }

 private:
  const hv_vcpu_t vcpu_;
  const GicPresence gic_;
};

}  // namespace

std::unique_ptr<RegisterFile> make_framework_registers(std::uint64_t vcpu, GicPresence gic) {
  return std::make_unique<FrameworkRegisters>(vcpu, gic);
}

}  // namespace stasis::hvf
