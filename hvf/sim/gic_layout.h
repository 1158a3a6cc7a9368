// Sizes of the framework's interrupt controller, as published for an M5 Max under macOS 26.4;
// another host may have others, so ask.
#pragma once

#include <cstdint>

namespace stasis::hvf::sim {

inline constexpr std::uint64_t kGicAlignmentBytes = 0x10000;
inline constexpr std::uint64_t kDistributorBytes = 0x10000;
inline constexpr std::uint64_t kRedistributorBytes = 0x20000;
inline constexpr std::uint64_t kRedistributorRegionBytes = 0x2000000;
inline constexpr std::uint32_t kSpiBase = 32;
inline constexpr std::uint32_t kSpiCount = 988;

}  // namespace stasis::hvf::sim
