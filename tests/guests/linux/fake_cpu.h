// The registers of a vCPU that does not exist.
#pragma once

#include <vector>

#include "guests/linux/cpu.h"

namespace stasis::linux_guest {

class FakeCpu final : public TrapCpu {
 public:
  X86GeneralRegisters& general() override { return general_; }
  [[nodiscard]] std::uint64_t fs_base() const override { return fs_base_; }
  [[nodiscard]] std::uint64_t gs_base() const override { return gs_base_; }
  void set_fs_base(std::uint64_t value) override { fs_base_ = value; }
  void set_gs_base(std::uint64_t value) override { gs_base_ = value; }
  [[nodiscard]] std::vector<std::byte> extended() override { return extended_; }
  [[nodiscard]] bool set_extended(std::span<const std::byte> xsave) override {
    // As a hypervisor does: another size, or reserved bits of MXCSR, are refused.
    if (xsave.size() != extended_.size() || (xsave[27] != std::byte{0})) {
      return false;
    }
    extended_.assign(xsave.begin(), xsave.end());
    return true;
  }

 private:
  X86GeneralRegisters general_;
  std::uint64_t fs_base_ = 0, gs_base_ = 0;
  std::vector<std::byte> extended_ = std::vector<std::byte>(832);  // x87, SSE and AVX.
};

}  // namespace stasis::linux_guest
