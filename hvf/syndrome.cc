#include "hvf/syndrome.h"

namespace stasis::hvf {
namespace {

// ESR_EL2.EC, table "Meaning of EC". Only those that a guest of ours can raise.
enum class ExceptionClass : std::uint8_t {
  kWait = 0x01,
  kHvc64 = 0x16,
  kSmc64 = 0x17,
  kSystemRegister = 0x18,
  kInstructionAbort = 0x20,  // From a lower level: 0x21 would be EL2's own.
  kDataAbort = 0x24,
  kBreakpoint = 0x30,
  kStep = 0x32,
  kWatchpoint = 0x34,
  kBrk64 = 0x3c,
};

constexpr unsigned kInstructionLengthBit = 25;  // ESR_EL2.IL.

// Bits [high:low], as the manual writes them.
constexpr std::uint64_t field(std::uint64_t value, unsigned high, unsigned low) {
  return (value >> low) & ((std::uint64_t{1} << (high - low + 1)) - 1);
}
constexpr bool bit(std::uint64_t value, unsigned position) {
  return field(value, position, position) != 0;
}

constexpr std::uint8_t kZeroRegister = 31;
GeneralRegister general_register(std::uint64_t number) {
  if (number == kZeroRegister) {
    return std::nullopt;
  }
  return static_cast<std::uint8_t>(number);
}

// "DFSC, bits [5:0]"; IFSC has the same codes as far as they apply.
FaultStatus fault_status(std::uint64_t esr) {
  const auto code = static_cast<std::uint8_t>(field(esr, 5, 0));
  const auto level = static_cast<std::int8_t>(code & 3U);
  const auto with = [code](FaultKind kind, std::optional<std::int8_t> at = std::nullopt) {
    return FaultStatus{kind, at, code};
  };
  switch (code) {
    case 0b010000:  // Synchronous External abort, not on a translation table walk.
    case 0b011000:  // Synchronous parity or ECC error, likewise.
      return with(FaultKind::kExternal);
    case 0b010011:  // On a walk, level -1.
    case 0b011011:
      return with(FaultKind::kExternal, std::int8_t{-1});
    case 0b010001:
      return with(FaultKind::kTagCheck);
    case 0b100001:
      return with(FaultKind::kAlignment);
    case 0b101001:
      return with(FaultKind::kAddressSize, std::int8_t{-1});
    case 0b101011:
      return with(FaultKind::kTranslation, std::int8_t{-1});
    default:
      break;
  }
  switch (code >> 2U) {
    case 0b0000:
      return with(FaultKind::kAddressSize, level);
    case 0b0001:
      return with(FaultKind::kTranslation, level);
    case 0b0010:
      return with(FaultKind::kAccessFlag, level);
    case 0b0011:
      return with(FaultKind::kPermission, level);
    case 0b0101:  // External abort on a walk.
    case 0b0111:  // Parity or ECC on a walk.
      return with(FaultKind::kExternal, level);
    default:
      return with(FaultKind::kOther);
  }
}

DataAbort data_abort(std::uint64_t esr) {
  DataAbort abort;
  abort.fault = fault_status(esr);
  abort.is_write = bit(esr, 6);
  abort.is_table_walk = bit(esr, 7);
  abort.is_cache_maintenance = bit(esr, 8);
  abort.has_virtual_address = !bit(esr, 10);
  if (bit(esr, 24)) {  // ISV. Without it SAS, SSE, SRT, SF and AR are RES0 or mean something else.
    AbortedAccess access;
    access.width_bytes = static_cast<std::uint8_t>(1U << field(esr, 23, 22));
    access.sign_extends = bit(esr, 21);
    access.reg = general_register(field(esr, 20, 16));
    access.is_64bit = bit(esr, 15);
    access.is_ordered = bit(esr, 14);
    abort.access = access;
  }
  return abort;
}

InstructionAbort instruction_abort(std::uint64_t esr) {
  return InstructionAbort{fault_status(esr), bit(esr, 7), !bit(esr, 10)};
}

WaitTrap wait_trap(std::uint64_t esr) {
  WaitTrap wait;
  wait.kind = static_cast<WaitKind>(field(esr, 1, 0));
  const bool has_timeout = wait.kind == WaitKind::kWfit || wait.kind == WaitKind::kWfet;
  if (has_timeout && bit(esr, 2)) {  // RV.
    wait.deadline = general_register(field(esr, 9, 5));
  }
  return wait;
}

SystemRegisterTrap system_register_trap(std::uint64_t esr) {
  SystemRegisterTrap trap;
  const std::uint64_t op0 = field(esr, 21, 20);
  const std::uint64_t op2 = field(esr, 19, 17);
  const std::uint64_t op1 = field(esr, 16, 14);
  const std::uint64_t crn = field(esr, 13, 10);
  const std::uint64_t crm = field(esr, 4, 1);
  trap.encoding =
      static_cast<std::uint16_t>((op0 << 14U) | (op1 << 11U) | (crn << 7U) | (crm << 3U) | op2);
  trap.reg = general_register(field(esr, 9, 5));
  trap.access = bit(esr, 0) ? RegisterAccess::kRead : RegisterAccess::kWrite;
  return trap;
}

// HPFAR_EL2.FIPA, bits [47:4], is the address's bits [55:12].
template <typename Abort>
std::optional<Gpa> address_of(const Abort& abort, std::uint64_t hpfar, std::uint64_t far) {
  switch (abort.fault.kind) {
    case FaultKind::kAddressSize:
    case FaultKind::kTranslation:
    case FaultKind::kAccessFlag:
      break;
    case FaultKind::kPermission:
      if (abort.is_table_walk) {
        break;
      }
      return std::nullopt;
    default:
      return std::nullopt;
  }
  const std::uint64_t offset = abort.is_table_walk ? 0 : field(far, 11, 0);
  return Gpa{(field(hpfar, 47, 4) << 12U) | offset};
}

}  // namespace

Trap decode_syndrome(std::uint64_t esr) {
  const std::uint64_t exception_class = field(esr, 31, 26);
  const auto immediate = static_cast<std::uint16_t>(field(esr, 15, 0));
  switch (static_cast<ExceptionClass>(exception_class)) {
    case ExceptionClass::kWait:
      return wait_trap(esr);
    case ExceptionClass::kHvc64:
      return CallTrap{CallKind::kHvc, immediate};
    case ExceptionClass::kSmc64:
      return CallTrap{CallKind::kSmc, immediate};
    case ExceptionClass::kSystemRegister:
      return system_register_trap(esr);
    case ExceptionClass::kInstructionAbort:
      return instruction_abort(esr);
    case ExceptionClass::kDataAbort:
      return data_abort(esr);
    case ExceptionClass::kBreakpoint:
      return DebugTrap{DebugKind::kBreakpoint, 0};
    case ExceptionClass::kStep:
      return DebugTrap{DebugKind::kStep, 0};
    case ExceptionClass::kWatchpoint:
      return DebugTrap{DebugKind::kWatchpoint, 0};
    case ExceptionClass::kBrk64:
      return DebugTrap{DebugKind::kBrk, immediate};
  }
  return OtherTrap{static_cast<std::uint8_t>(exception_class),
                   static_cast<std::uint32_t>(field(esr, 24, 0))};
}

std::uint64_t bytes_to_skip(std::uint64_t esr) {
  if (field(esr, 31, 26) == static_cast<std::uint64_t>(ExceptionClass::kHvc64)) {
    return 0;
  }
  return bit(esr, kInstructionLengthBit) ? 4 : 2;
}

bool may_write(const DataAbort& abort) {
  return abort.is_write || abort.is_table_walk;
}

bool may_write(const InstructionAbort& abort) {
  return abort.is_table_walk;
}

std::uint64_t loaded_value(const AbortedAccess& access, std::uint64_t raw) {
  const unsigned unused_bits = 64U - (8U * access.width_bytes);
  std::uint64_t value = raw << unused_bits;
  if (access.sign_extends) {
    value = static_cast<std::uint64_t>(static_cast<std::int64_t>(value) >> unused_bits);
  } else {
    value >>= unused_bits;
  }
  // A write to a W register clears the upper half of the X register ("General-purpose registers",
  // B1.2), also when the sign was extended: LDRSB W.
  return access.is_64bit ? value : field(value, 31, 0);
}

std::uint64_t stored_value(const AbortedAccess& access, std::uint64_t value) {
  const unsigned unused_bits = 64U - (8U * access.width_bytes);
  return (value << unused_bits) >> unused_bits;
}

std::optional<Gpa> abort_address(const DataAbort& abort, std::uint64_t hpfar, std::uint64_t far) {
  return address_of(abort, hpfar, far);
}

std::optional<Gpa> abort_address(const InstructionAbort& abort, std::uint64_t hpfar,
                                 std::uint64_t far) {
  return address_of(abort, hpfar, far);
}

}  // namespace stasis::hvf
