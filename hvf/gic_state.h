// What a snapshot holds of a VM's interrupt controller beyond its vCPUs' parts: the distributor's
// registers and the levels of its lines (decision 43). Pure, every host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/result.h"

namespace stasis::hvf {

// By its offset in the distributor's frame, which is also the framework's number. Value.
struct DistributorValue {
  std::uint16_t offset = 0;
  std::uint64_t value = 0;
  friend bool operator==(const DistributorValue&, const DistributorValue&) = default;
};

// Value.
struct GicState {
  std::vector<DistributorValue> registers;  // Ascending; what is not here is zero.
  std::vector<std::uint32_t> high_lines;    // SPI numbers, from 0; ascending.
  friend bool operator==(const GicState&, const GicState&) = default;
};

// A register that a state has, and where writing ones clears it, if writing ones is what sets it.
struct DistributorRegister {
  std::uint16_t offset = 0;
  std::uint16_t clear_offset = 0;
};
// All of a distributor with `spis` SPIs, whose first INTID is 32, in the order in which to write
// them: what is enabled and the distributor itself come last.
std::vector<DistributorRegister> distributor_registers(std::uint32_t spis);

// A level that is high makes an interrupt pending by itself: taken from GICD_ISPENDR, so that
// writing the state does not make it pending for good.
void remove_pending_levels(GicState& state);

inline constexpr std::uint32_t kGicStateVersion = 1;
std::vector<std::byte> encode_gic_state(const GicState& state);
// kCorruption, naming the field: the bytes come from a file. Registers and lines are those of a
// distributor with `spis` SPIs.
Result<GicState> decode_gic_state(std::span<const std::byte> bytes, std::uint32_t spis);

}  // namespace stasis::hvf
