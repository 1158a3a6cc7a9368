#include "guests/linux/kernel/crash_report.h"

#include <signal.h>

#include <array>
#include <optional>
#include <utility>

#include "core/text.h"
#include "guests/linux/kernel/symbols.h"
#include "guests/linux/signals/signal_table.h"

namespace stasis::linux_guest {
namespace {

constexpr int kFramesMax = 32;

std::optional<Mapping> mapping_at(const AddressSpace& memory, std::uint64_t address) {
  for (Mapping& mapping : memory.mappings()) {
    if (mapping.begin.value <= address && address - mapping.begin.value < mapping.size_bytes) {
      return std::move(mapping);
    }
  }
  return std::nullopt;
}

std::string cause_of(const AddressSpace& memory, const SignalInfo& info) {
  if (!info.is_fault) {
    return info.code == SI_TKILL || info.code == SI_USER ? ", sent by the process itself" : "";
  }
  if (info.signal != SIGSEGV && info.signal != SIGBUS) {
    return "";
  }
  const char* const access = (info.error_code & 16U) != 0  ? "executing"
                             : (info.error_code & 2U) != 0 ? "writing to"
                                                           : "reading from";
  if (info.vector != 14) {  // Not a page fault.
    return ", a general protection fault";
  }
  const auto mapping = mapping_at(memory, info.address);
  return std::string(" ") + access + " " + hex(info.address) +
         (!mapping                ? ", where nothing is mapped"
          : info.signal == SIGBUS ? ", beyond the end of " + mapping->name
                                  : ", which its protection forbids" +
                                        (mapping->name.empty() ? "" : " (" + mapping->name + ")"));
}

}  // namespace

std::string describe_code_address(const AddressSpace& memory, std::uint64_t address,
                                  CodeAddress kind) {
  const auto mapping = mapping_at(memory, address);
  if (!mapping) {
    return hex(address);
  }
  const std::uint64_t offset = address - mapping->begin.value + mapping->file_offset;
  std::string function;
  if (mapping->file != nullptr) {
    // A call that never returns may be the last instruction of its function.
    const std::uint64_t back = kind == CodeAddress::kReturn && offset != 0 ? 1 : 0;
    if (const auto symbol = find_function(*mapping->file, offset - back)) {
      function = symbol->name + "+" + hex(symbol->offset + back) + ", ";
    }
  }
  return hex(address) + " (" + function +
         (mapping->name.empty() ? "anonymous memory" : mapping->name) + "+" + hex(offset) + ")";
}

std::string crash_report(AddressSpace& memory, const X86GeneralRegisters& general,
                         const SignalInfo& info) {
  std::string text = std::string("killed by ") + signal_name(info.signal) + cause_of(memory, info) +
                     "\n  at " +
                     describe_code_address(memory, general.rip, CodeAddress::kInstruction) + "\n";
  const std::array<std::pair<const char*, std::uint64_t>, 18> registers = {
      {{"rax", general.rax},
       {"rbx", general.rbx},
       {"rcx", general.rcx},
       {"rdx", general.rdx},
       {"rsi", general.rsi},
       {"rdi", general.rdi},
       {"rbp", general.rbp},
       {"rsp", general.rsp},
       {"r8", general.r8},
       {"r9", general.r9},
       {"r10", general.r10},
       {"r11", general.r11},
       {"r12", general.r12},
       {"r13", general.r13},
       {"r14", general.r14},
       {"r15", general.r15},
       {"rip", general.rip},
       {"rflags", general.rflags}}};
  for (std::size_t i = 0; i < registers.size(); ++i) {
    text += std::string(i % 4 == 0 ? "  " : " ") + registers[i].first + "=" +
            hex(registers[i].second) + (i % 4 == 3 || i + 1 == registers.size() ? "\n" : "");
  }
  // Programs are mostly compiled without frame pointers; where the chain is one, it only goes up.
  const UserAccess user(memory);
  std::uint64_t frame = general.rbp;
  for (int i = 0; i < kFramesMax; ++i) {
    const auto links = user.get<std::array<std::uint64_t, 2>>(UserAddress{frame});
    if (frame % 8 != 0 || !links || (*links)[1] == 0 || (*links)[1] >= kUserSpaceEnd ||
        !mapping_at(memory, (*links)[1])) {
      break;
    }
    text += "  from " + describe_code_address(memory, (*links)[1], CodeAddress::kReturn) + "\n";
    if ((*links)[0] <= frame) {
      break;
    }
    frame = (*links)[0];
  }
  return text;
}

}  // namespace stasis::linux_guest
