// The vCPU state of the mock backend's toy CPU (docs in mock/toy_cpu.h).
#pragma once

#include <array>
#include <cstdint>

namespace stasis {

// Value.
struct ToyVcpuState {
  std::array<std::uint64_t, 16> r = {};
  std::uint64_t pc = 0;            // Guest-physical address of the next instruction.
  std::uint64_t instructions = 0;  // Retired since creation: the toy CPU's clock.
  bool halted = false;
  friend bool operator==(const ToyVcpuState&, const ToyVcpuState&) = default;
};

}  // namespace stasis
