#include "hvf/psci.h"

#include <algorithm>

namespace stasis::hvf {
namespace {

// Function numbers; bit 30 says that arguments have 64 bits.
enum : std::uint32_t {
  kSmcccVersion = 0x80000000,
  kVersion = 0x84000000,
  kCpuSuspend = 0x84000001,
  kCpuOff = 0x84000002,
  kCpuOn = 0x84000003,
  kAffinityInfo = 0x84000004,
  kMigrateInfoType = 0x84000006,
  kSystemOff = 0x84000008,
  kSystemReset = 0x84000009,
  kFeatures = 0x8400000a,
};
constexpr std::uint32_t kWide = 1U << 30U;

constexpr std::uint64_t kPsciVersion = 0x10001, kSmcccOwnVersion = 0x10001;  // 1.1 both.
constexpr std::uint64_t kNoTrustedOs = 2;                                    // MIGRATE_INFO_TYPE.

constexpr auto kKnown = std::to_array<std::uint32_t>(
    {kVersion, kCpuSuspend, kCpuOff, kCpuOn, kAffinityInfo, kMigrateInfoType, kSystemOff,
     kSystemReset, kFeatures, kSmcccVersion, kCpuSuspend | kWide, kCpuOn | kWide,
     kAffinityInfo | kWide});

bool is_known(std::uint32_t function) {
  return std::ranges::find(kKnown, function) != kKnown.end();
}

PsciAnswer status(PsciStatus value) {
  return {to_register(value)};
}

PsciCall affinity_info(std::uint64_t affinity, std::uint64_t lowest_level) {
  // Levels above 0 were given up with PSCI 1.0.
  if (lowest_level != 0) {
    return status(PsciStatus::kInvalidParameters);
  }
  return PsciAffinityInfo{affinity};
}

}  // namespace

PsciCall decode_psci(const std::array<std::uint64_t, 4>& arguments) {
  const auto function = static_cast<std::uint32_t>(arguments[0]);
  const std::uint64_t mask = (function & kWide) != 0 ? UINT64_MAX : UINT32_MAX;
  const std::uint64_t first = arguments[1] & mask, second = arguments[2] & mask,
                      third = arguments[3] & mask;
  switch (function) {
    case kVersion:
      return PsciAnswer{kPsciVersion};
    case kSmcccVersion:
      return PsciAnswer{kSmcccOwnVersion};
    case kMigrateInfoType:
      return PsciAnswer{kNoTrustedOs};
    case kFeatures:
      return status(is_known(static_cast<std::uint32_t>(first)) ? PsciStatus::kSuccess
                                                                : PsciStatus::kNotSupported);
    case kCpuSuspend:
    case kCpuSuspend | kWide:
      return PsciCpuSuspend{};
    case kCpuOff:
      return PsciCpuOff{};
    case kCpuOn:
    case kCpuOn | kWide:
      return PsciCpuOn{first, second, third};
    case kAffinityInfo:
    case kAffinityInfo | kWide:
      return affinity_info(first, second);
    case kSystemOff:
      return PsciSystemOff{};
    case kSystemReset:
      return PsciSystemReset{};
    default:
      return status(PsciStatus::kNotSupported);
  }
}

}  // namespace stasis::hvf
