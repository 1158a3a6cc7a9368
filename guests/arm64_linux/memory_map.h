// Where an arm64 Linux kernel finds what its machine has, beside the GIC
// (core/interrupt_controller.h). Part of a snapshot's meaning: numbers do not change.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/address.h"

namespace stasis::guests::arm64 {

inline constexpr Gpa kRam{0x40000000};
inline constexpr std::uint64_t kRamBytesMin = std::uint64_t{64} << 20U;
// RAM ends within the 36 bits of guest-physical address that every host has.
inline constexpr std::uint64_t kRamBytesMax = std::uint64_t{32} << 30U;
inline constexpr std::uint64_t kRamUnitBytes = std::uint64_t{2} << 20U;

// Two PL011s; lines are those of InterruptController::set_line().
inline constexpr std::uint64_t kConsole = 0x09000000, kRequests = 0x09010000;
inline constexpr std::uint64_t kUartBytes = 0x1000;
inline constexpr std::uint32_t kConsoleLine = 1, kRequestsLine = 2;
inline constexpr std::string_view kConsoleName = "pl011-console", kRequestsName = "pl011-requests";

// virtio-mmio windows, one behind the other.
inline constexpr std::uint64_t kVirtio = 0x0a000000, kVirtioBytes = 0x200;
inline constexpr std::uint32_t kVirtioLine = 16;

inline constexpr std::uint64_t kDeviceTreeBytesMax = std::uint64_t{64} << 10U;

}  // namespace stasis::guests::arm64
