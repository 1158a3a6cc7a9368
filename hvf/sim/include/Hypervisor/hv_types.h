// Return codes, memory permissions, addresses.
#pragma once

#include <cstdint>

// mach_error_t: err_system(0x3e) | err_sub(0xba5) | code. Sources: arm64/hv/hv_kern_types.h of the
// SDKs of macOS 15.0 and 26; HV_EXISTS is in the latter only.
using hv_return_t = int;
enum : int {
  HV_SUCCESS = 0,
  HV_ERROR = static_cast<int>(0xfae94001),
  HV_BUSY = static_cast<int>(0xfae94002),
  HV_BAD_ARGUMENT = static_cast<int>(0xfae94003),
  HV_ILLEGAL_GUEST_STATE = static_cast<int>(0xfae94004),
  HV_NO_RESOURCES = static_cast<int>(0xfae94005),
  HV_NO_DEVICE = static_cast<int>(0xfae94006),
  HV_DENIED = static_cast<int>(0xfae94007),
  HV_EXISTS = static_cast<int>(0xfae94008),
  HV_UNSUPPORTED = static_cast<int>(0xfae9400f),
};

// A guest-physical address.
using hv_ipa_t = std::uint64_t;

// No constant for "no access": 0 is accepted.
using hv_memory_flags_t = std::uint64_t;
enum : std::uint64_t {
  HV_MEMORY_READ = 1,
  HV_MEMORY_WRITE = 2,
  HV_MEMORY_EXEC = 4,
};
