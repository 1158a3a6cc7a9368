// What a guest did to leave EL1, decoded from ESR_EL2. Pure functions: no framework, every host.
//
// Hypervisor.framework hands out the register as hv_vcpu_exit_exception_t::syndrome, a monitor at
// EL2 reads it. Source: Arm ARM (DDI 0487), the register description of ESR_EL2; the heading of
// each ISS encoding is named at its type, because section numbers differ between the manual's
// issues.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "core/address.h"

namespace stasis::hvf {

// "Data/Instruction Fault Status Code", ISS[5:0] of both kinds of abort.
enum class FaultKind : std::uint8_t {
  kAddressSize,
  kTranslation,  // No valid entry. The framework also reports a first touch so.
  kAccessFlag,
  kPermission,  // An entry that forbids the access.
  kExternal,    // The memory system refused, with or without a table walk; parity and ECC.
  kTagCheck,
  kAlignment,
  kOther,  // `code` says which.
};

struct FaultStatus {
  FaultKind kind = FaultKind::kOther;
  std::optional<std::int8_t> level;  // Of the table, -1 to 3, where the code names one.
  std::uint8_t code = 0;             // The six bits.
  friend bool operator==(const FaultStatus&, const FaultStatus&) = default;
};

// X0 to X30, or nothing for register 31, which is XZR here: it reads as zero and swallows writes.
// (To the framework 31 is the program counter; the type keeps the two apart.)
using GeneralRegister = std::optional<std::uint8_t>;

// The load or store of one general-purpose register behind a data abort (ISV = 1).
struct AbortedAccess {
  std::uint8_t width_bytes = 0;  // SAS: 1, 2, 4 or 8.
  bool sign_extends = false;     // SSE: a load of this width extends the sign.
  bool is_64bit = false;         // SF: the register is an X, not a W.
  bool is_ordered = false;       // AR: acquire or release.
  GeneralRegister reg;           // SRT.
  friend bool operator==(const AbortedAccess&, const AbortedAccess&) = default;
};

// "ISS encoding for an exception from a Data Abort".
struct DataAbort {
  FaultStatus fault;
  bool is_write = false;              // WnR. Cache maintenance by address is a write, too.
  bool is_table_walk = false;         // S1PTW: the guest's tables, not its access, were refused.
  bool is_cache_maintenance = false;  // CM: DC or IC by address.
  bool has_virtual_address = true;    // FnV = 0.
  // Nothing (ISV = 0) for pairs, write-back forms, SIMD, exclusives, atomics, DC ZVA and table
  // walks: enough to make the page accessible and try again, not to emulate a device.
  std::optional<AbortedAccess> access;
  friend bool operator==(const DataAbort&, const DataAbort&) = default;
};

// "ISS encoding for an exception from an Instruction Abort".
struct InstructionAbort {
  FaultStatus fault;
  bool is_table_walk = false;
  bool has_virtual_address = true;
  friend bool operator==(const InstructionAbort&, const InstructionAbort&) = default;
};

// "ISS encoding for an exception from HVC or SVC instruction execution", and from SMC.
enum class CallKind : std::uint8_t { kHvc, kSmc };
struct CallTrap {
  CallKind kind = CallKind::kHvc;
  std::uint16_t immediate = 0;
  friend bool operator==(const CallTrap&, const CallTrap&) = default;
};

// "ISS encoding for an exception from a WF* instruction". The values are those of the field TI.
enum class WaitKind : std::uint8_t { kWfi = 0, kWfe = 1, kWfit = 2, kWfet = 3 };
struct WaitTrap {
  WaitKind kind = WaitKind::kWfi;
  // WFIT and WFET, where RV says that RN is valid: holds the CNTVCT_EL0 at which the wait ends.
  std::optional<GeneralRegister> deadline;
  friend bool operator==(const WaitTrap&, const WaitTrap&) = default;
};

// "ISS encoding for an exception from MSR, MRS, or System instruction execution in AArch64 state".
enum class RegisterAccess : std::uint8_t { kWrite = 0, kRead = 1 };  // The field Direction.
struct SystemRegisterTrap {
  std::uint16_t encoding = 0;  // As in Arm64SystemRegister.
  RegisterAccess access = RegisterAccess::kWrite;
  GeneralRegister reg;  // Source of MSR, destination of MRS.
  friend bool operator==(const SystemRegisterTrap&, const SystemRegisterTrap&) = default;
};

enum class DebugKind : std::uint8_t { kBreakpoint, kStep, kWatchpoint, kBrk };
struct DebugTrap {
  DebugKind kind = DebugKind::kBrk;
  std::uint16_t comment = 0;  // The immediate of BRK.
  friend bool operator==(const DebugTrap&, const DebugTrap&) = default;
};

// An exception class that a guest at EL1 is not expected to raise at EL2: SError, SVE, AArch32.
struct OtherTrap {
  std::uint8_t exception_class = 0;  // EC.
  std::uint32_t iss = 0;             // 25 bits.
  friend bool operator==(const OtherTrap&, const OtherTrap&) = default;
};

using Trap = std::variant<DataAbort, InstructionAbort, CallTrap, WaitTrap, SystemRegisterTrap,
                          DebugTrap, OtherTrap>;

// Total: every value decodes to something. ISS2 (bits above 31) is not looked at.
Trap decode_syndrome(std::uint64_t esr);

// How far the VMM moves the program counter to skip the trapped instruction after emulating it:
// 0 for HVC, whose preferred return address is already behind it ("Exception entry", D1), 4 for
// what may be emulated otherwise, by ESR_EL2.IL 2 for a 16-bit instruction.
std::uint64_t bytes_to_skip(std::uint64_t esr);

// Whether the page of an abort must count as written once the access is let through. A walk of the
// guest's tables may store (access flag, dirty state), and WnR does not tell on every CPU: it
// counts.
bool may_write(const DataAbort& abort);
bool may_write(const InstructionAbort& abort);

// The register's new value after a load of `raw`, whose bits above the access's width are ignored.
std::uint64_t loaded_value(const AbortedAccess& access, std::uint64_t raw);
// What a store of `value` (0 for XZR) puts on the bus, zero-extended.
std::uint64_t stored_value(const AbortedAccess& access, std::uint64_t value);

// The guest-physical address of a stage-2 abort as a monitor at EL2 finds it (the framework gives
// it ready-made). Nothing where HPFAR_EL2 is UNKNOWN ("HPFAR_EL2"): on a permission fault that is
// not on a table walk, where the virtual address must be translated instead, and on faults that are
// not of stage 2. Of a table walk only the page is known: FAR_EL2 is the address that was being
// translated.
std::optional<Gpa> abort_address(const DataAbort& abort, std::uint64_t hpfar, std::uint64_t far);
std::optional<Gpa> abort_address(const InstructionAbort& abort, std::uint64_t hpfar,
                                 std::uint64_t far);

}  // namespace stasis::hvf
