// Which registers of an arm64 vCPU a snapshot carries, beyond those with a field of their own in
// Arm64VcpuState. Pure data, every host.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace stasis::hvf {

enum class RegisterRole : std::uint8_t {
  kIdentity,           // What CPU this is. A host that shows another value cannot hold the state.
  kState,              // Read and written as it is.
  kTimerControl,       // Likewise, but written after every compare value: it can start a timer.
  kIdentityIfPresent,  // As the above two where the framework has it. It may not: the register came
  kStateIfPresent,  // after macOS 15.0, needs the framework's GIC, or is one of 16 of which a CPU
  kTimerIfPresent,  // has fewer.
};

constexpr bool is_identity(RegisterRole role) {
  return role == RegisterRole::kIdentity || role == RegisterRole::kIdentityIfPresent;
}
constexpr bool is_timer_control(RegisterRole role) {
  return role == RegisterRole::kTimerControl || role == RegisterRole::kTimerIfPresent;
}
constexpr bool may_be_absent(RegisterRole role) {
  return role >= RegisterRole::kIdentityIfPresent;
}

// Value. `encoding` as in Arm64SystemRegister, which is also the framework's number.
struct SystemRegister {
  std::uint16_t encoding = 0;
  std::string_view name;  // Of Arm DDI 0487 D24, or IHI 0069 12.2.
  RegisterRole role = RegisterRole::kState;
};

// Everything in Arm64VcpuState::system, ascending.
std::span<const SystemRegister> system_registers();

// Everything in Arm64VcpuState::gic_cpu_interface, in the order in which to write it: SRE_EL1
// decides whether the others exist, CTLR_EL1 how they read.
std::span<const SystemRegister> gic_registers();

// Of a vCPU's own interrupts, in the order in which to write them. Value.
struct RedistributorRegister {
  std::uint16_t offset = 0;  // In the redistributor's second frame.
  std::string_view name;     // Of IHI 0069 12.11.
  // Other than 0: writing 1 sets a bit, and writing 1 here clears it.
  std::uint16_t clear_offset = 0;
};
// Everything in Arm64VcpuState::gic_redistributor.
std::span<const RedistributorRegister> redistributor_registers();

// nullptr if there is none.
const SystemRegister* find_system_register(std::uint16_t encoding);
const SystemRegister* find_gic_register(std::uint16_t encoding);

// A register that the framework offers and a snapshot does not carry in the two lists above.
struct LeftOut {
  std::uint16_t encoding = 0;
  std::string_view name;
  std::string_view reason;
};
std::span<const LeftOut> left_out_registers();

}  // namespace stasis::hvf
