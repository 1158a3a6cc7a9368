// PSCI, the firmware interface by which a guest starts and stops its CPUs and itself: calls as
// values. Pure. Source: Arm DEN 0022 (PSCI 1.1), 5; SMCCC: Arm DEN 0028.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <variant>

namespace stasis::hvf {

enum class PsciStatus : std::int64_t {
  kSuccess = 0,
  kNotSupported = -1,
  kInvalidParameters = -2,
  kDenied = -3,
  kAlreadyOn = -4,
  kOnPending = -5,
  kInvalidAddress = -9,
};

// What a call asks for. `affinity` is an MPIDR_EL1 without its other fields.
struct PsciAnswer {  // Nothing more than this in X0.
  std::uint64_t value = 0;
  friend bool operator==(const PsciAnswer&, const PsciAnswer&) = default;
};
struct PsciCpuOn {
  std::uint64_t affinity = 0;
  std::uint64_t entry = 0;    // Guest-physical.
  std::uint64_t context = 0;  // For X0 of the CPU that starts.
  friend bool operator==(const PsciCpuOn&, const PsciCpuOn&) = default;
};
struct PsciCpuOff {
  friend bool operator==(const PsciCpuOff&, const PsciCpuOff&) = default;
};
// CPU_SUSPEND: waits as WFI does, and returns success; there is no deeper state.
struct PsciCpuSuspend {
  friend bool operator==(const PsciCpuSuspend&, const PsciCpuSuspend&) = default;
};
struct PsciAffinityInfo {
  std::uint64_t affinity = 0;
  friend bool operator==(const PsciAffinityInfo&, const PsciAffinityInfo&) = default;
};
struct PsciSystemOff {
  friend bool operator==(const PsciSystemOff&, const PsciSystemOff&) = default;
};
struct PsciSystemReset {
  friend bool operator==(const PsciSystemReset&, const PsciSystemReset&) = default;
};
using PsciCall = std::variant<PsciAnswer, PsciCpuOn, PsciCpuOff, PsciCpuSuspend, PsciAffinityInfo,
                              PsciSystemOff, PsciSystemReset>;

// Of X0 to X3 at HVC or SMC #0. Total: a function that does not exist is answered so. Of functions
// with 32 bits only the low halves of arguments count.
PsciCall decode_psci(const std::array<std::uint64_t, 4>& arguments);

constexpr std::uint64_t to_register(PsciStatus status) {
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(status));
}

// Aff0 to Aff3 of an MPIDR_EL1, as PSCI's arguments have them.
inline constexpr std::uint64_t kAffinityMask = 0xff00ffffff;

}  // namespace stasis::hvf
