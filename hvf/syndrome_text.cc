#include "hvf/syndrome_text.h"

#include <string_view>

#include "core/text.h"

namespace stasis::hvf {
namespace {

std::string_view name_of(FaultKind kind) {
  switch (kind) {
    case FaultKind::kAddressSize:
      return "address size fault";
    case FaultKind::kTranslation:
      return "translation fault";
    case FaultKind::kAccessFlag:
      return "access flag fault";
    case FaultKind::kPermission:
      return "permission fault";
    case FaultKind::kExternal:
      return "external abort";
    case FaultKind::kTagCheck:
      return "tag check fault";
    case FaultKind::kAlignment:
      return "alignment fault";
    case FaultKind::kOther:
      break;
  }
  return "fault of another kind";
}

std::string_view name_of(DebugKind kind) {
  switch (kind) {
    case DebugKind::kBreakpoint:
      return "hardware breakpoint";
    case DebugKind::kStep:
      return "software step";
    case DebugKind::kWatchpoint:
      return "watchpoint";
    case DebugKind::kBrk:
      break;
  }
  return "BRK";
}

std::string_view name_of(WaitKind kind) {
  switch (kind) {
    case WaitKind::kWfi:
      return "WFI";
    case WaitKind::kWfe:
      return "WFE";
    case WaitKind::kWfit:
      return "WFIT";
    case WaitKind::kWfet:
      break;
  }
  return "WFET";
}

std::string register_name(GeneralRegister reg, char prefix) {
  const std::string name = reg.has_value() ? std::to_string(unsigned{*reg}) : "zr";
  return prefix + name;
}

std::string fault_text(const FaultStatus& fault, bool is_table_walk) {
  std::string text(name_of(fault.kind));
  if (fault.level.has_value()) {
    text += " at level " + std::to_string(int{*fault.level});
  }
  text += " (code " + hex(fault.code) + ")";
  return is_table_walk ? text + " on a walk of the guest's tables" : text;
}

std::string access_text(const DataAbort& abort) {
  if (abort.is_cache_maintenance) {
    return ", cache maintenance";
  }
  if (!abort.access.has_value()) {
    return abort.is_write ? ", a write that the syndrome does not describe"
                          : ", a read that the syndrome does not describe";
  }
  const AbortedAccess& access = *abort.access;
  const std::string verb = abort.is_write ? ", store of " : ", load of ";
  return verb + std::to_string(unsigned{access.width_bytes}) + " bytes " +
         (abort.is_write ? "from " : "to ") +
         register_name(access.reg, access.is_64bit ? 'x' : 'w');
}

std::string text_of(const DataAbort& abort) {
  return "data abort, " + fault_text(abort.fault, abort.is_table_walk) + access_text(abort);
}

std::string text_of(const InstructionAbort& abort) {
  return "instruction abort, " + fault_text(abort.fault, abort.is_table_walk);
}

std::string text_of(const CallTrap& call) {
  return std::string(call.kind == CallKind::kHvc ? "HVC #" : "SMC #") + hex(call.immediate);
}

std::string text_of(const WaitTrap& wait) {
  return std::string(name_of(wait.kind));
}

std::string text_of(const SystemRegisterTrap& trap) {
  const unsigned e = trap.encoding;
  const std::string name = "S" + std::to_string(e >> 14U) + "_" + std::to_string((e >> 11U) & 7U) +
                           "_C" + std::to_string((e >> 7U) & 15U) + "_C" +
                           std::to_string((e >> 3U) & 15U) + "_" + std::to_string(e & 7U);
  const bool is_read = trap.access == RegisterAccess::kRead;
  return (is_read ? "read of system register " : "write of system register ") + name +
         (is_read ? " to " : " from ") + register_name(trap.reg, 'x');
}

std::string text_of(const DebugTrap& trap) {
  const std::string name(name_of(trap.kind));
  return trap.kind == DebugKind::kBrk ? name + " #" + hex(trap.comment) : name;
}

std::string text_of(const OtherTrap& trap) {
  return "exception class " + hex(trap.exception_class) + ", ISS " + hex(trap.iss);
}

}  // namespace

std::string describe(const Trap& trap) {
  return std::visit([](const auto& alternative) { return text_of(alternative); }, trap);
}

}  // namespace stasis::hvf
