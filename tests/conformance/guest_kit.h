// What the conformance suite needs a guest to do, once for each architecture.
//
// A program is put into guest memory for one vCPU and returned as the state to load into it. It
// ends by writing kDone to the report() access and halting, unless it says otherwise. Programs of
// several vCPUs share one memory.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "core/guest_memory.h"
#include "core/result.h"
#include "core/vcpu_exit.h"
#include "core/vcpu_state.h"

namespace stasis::conformance {

// One region of guest memory, the same for every kit: the kit's own part (code, tables, stacks)
// and the part that only the test's programs write. A kit may write its own part while it runs.
inline constexpr Gpa kKitBegin{0};
inline constexpr std::uint64_t kKitBytes = std::uint64_t{2} << 20;
inline constexpr Gpa kDataBegin{kKitBytes};
inline constexpr std::uint64_t kDataBytes = std::uint64_t{2} << 20;
inline constexpr GpaRange kDataRange{kDataBegin, kDataBytes};

inline constexpr std::uint32_t kDone = 0xd0e;

// A store of 1, 2, 4 or 8 bytes at any alignment.
struct Store {
  Gpa to;
  std::uint8_t width_bytes = 8;
  std::uint64_t value = 0;
};

class GuestKit {
 public:
  virtual ~GuestKit() = default;

  // Where programs write their reports and read from devices: not RAM, 4 bytes wide.
  [[nodiscard]] virtual IoAccess report() const = 0;

  // Each puts a program for vCPU `index` (0 .. 31) into `memory`.

  // Does nothing but end.
  virtual Result<VcpuState> finish(GuestMemory& memory, std::uint32_t index) = 0;
  // Writes each value to report(), in order.
  virtual Result<VcpuState> report_values(GuestMemory& memory, std::uint32_t index,
                                          std::span<const std::uint32_t> values) = 0;
  // Performs the stores in order, each as one instruction.
  virtual Result<VcpuState> store(GuestMemory& memory, std::uint32_t index,
                                  std::span<const Store> stores) = 0;
  // Reads 4 bytes from report() and stores them, zero-extended to 8 bytes, at `to`.
  virtual Result<VcpuState> read_device(GuestMemory& memory, std::uint32_t index, Gpa to) = 0;
  // Loads 8 bytes at `from` and stores them at `to`.
  virtual Result<VcpuState> copy(GuestMemory& memory, std::uint32_t index, Gpa from, Gpa to) = 0;
  // Adds 1 to the 8 bytes at `counter`, `times` times, atomically with other vCPUs.
  virtual Result<VcpuState> add_atomically(GuestMemory& memory, std::uint32_t index, Gpa counter,
                                           std::uint64_t times) = 0;
  // Never ends and never leaves the guest: adds 1 to the 8 bytes at `counter` again and again.
  virtual Result<VcpuState> count_forever(GuestMemory& memory, std::uint32_t index,
                                          Gpa counter) = 0;
  // x = mix(x) from `seed`, `rounds` times, storing x at `to` in every round; mix() is
  // x * 6364136223846793005 + 1442695040888963407. Keeps x and the number of rounds in registers.
  virtual Result<VcpuState> compute(GuestMemory& memory, std::uint32_t index, Gpa to,
                                    std::uint64_t seed, std::uint64_t rounds) = 0;
  // Does what no guest survives: the vCPU leaves with ExitFailed.
  virtual Result<VcpuState> fail(GuestMemory& memory, std::uint32_t index) = 0;
};

// What compute() leaves at `to`.
constexpr std::uint64_t computed(std::uint64_t seed, std::uint64_t rounds) {
  std::uint64_t x = seed;
  for (std::uint64_t i = 0; i < rounds; ++i) {
    x = x * 6364136223846793005U + 1442695040888963407U;
  }
  return x;
}

}  // namespace stasis::conformance
