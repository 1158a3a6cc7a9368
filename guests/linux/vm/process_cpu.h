// The vCPU as the process's kernel sees it in a trap. Private to LinuxProcess.
#pragma once

#include "guests/linux/cpu.h"
#include "guests/linux/vm/process.h"
#include "guests/linux/vm/system_tables.h"

namespace stasis::linux_guest::vm {

class LinuxProcess::Cpu final : public TrapCpu {
 public:
  Cpu(X86TrapAccess& access, const X86TrapRegisters& registers)
      : access_(access), registers_(registers) {
    registers_.cs = user_code();
    registers_.ss = user_stack();
  }

  [[nodiscard]] X86GeneralRegisters& general() override { return registers_.general; }
  [[nodiscard]] std::uint64_t fs_base() const override { return registers_.fs_base; }
  [[nodiscard]] std::uint64_t gs_base() const override { return registers_.gs_base; }
  void set_fs_base(std::uint64_t value) override { registers_.fs_base = value; }
  void set_gs_base(std::uint64_t value) override { registers_.gs_base = value; }
  [[nodiscard]] std::vector<std::byte> extended() override {
    Result<std::vector<std::byte>> image = access_.extended_state();
    return image ? *std::move(image) : std::vector<std::byte>();
  }
  [[nodiscard]] bool set_extended(std::span<const std::byte> xsave) override {
    return access_.set_extended_state(xsave).has_value();
  }

  // The process's own, in ring 3.
  [[nodiscard]] X86TrapRegisters registers() const {
    constexpr std::uint64_t kUserFlags = 0x250fd5;  // All that ring 3 can change, and RF.
    constexpr std::uint64_t kFixedFlags = 0x202;
    X86TrapRegisters safe = registers_;
    safe.general.rflags = (safe.general.rflags & kUserFlags) | kFixedFlags;
    return safe;
  }
  Result<void> enter(const X86TrapRegisters& registers) { return access_.set_registers(registers); }

 private:
  X86TrapAccess& access_;
  X86TrapRegisters registers_;
};

}  // namespace stasis::linux_guest::vm
