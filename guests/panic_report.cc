#include "guests/panic_report.h"

#include <array>

#include "core/text.h"

namespace stasis::guests {
namespace {

struct ExceptionName {
  std::string_view mnemonic, name;
};

// Intel SDM vol. 3A, table 6-1, and AMD APM vol. 2, table 8-1.
constexpr std::array<ExceptionName, 32> kX86Exceptions = {{
    {"#DE", "divide error"},
    {"#DB", "debug exception"},
    {"NMI", "non-maskable interrupt"},
    {"#BP", "breakpoint"},
    {"#OF", "overflow"},
    {"#BR", "bound range exceeded"},
    {"#UD", "invalid opcode"},
    {"#NM", "device not available"},
    {"#DF", "double fault"},
    {"9", "coprocessor segment overrun"},
    {"#TS", "invalid TSS"},
    {"#NP", "segment not present"},
    {"#SS", "stack-segment fault"},
    {"#GP", "general protection fault"},
    {"#PF", "page fault"},
    {"15", "reserved exception"},
    {"#MF", "x87 floating-point error"},
    {"#AC", "alignment check"},
    {"#MC", "machine check"},
    {"#XM", "SIMD floating-point exception"},
    {"#VE", "virtualization exception"},
    {"#CP", "control protection exception"},
    {"22", "reserved exception"},
    {"23", "reserved exception"},
    {"24", "reserved exception"},
    {"25", "reserved exception"},
    {"26", "reserved exception"},
    {"27", "reserved exception"},
    {"#HV", "hypervisor injection exception"},
    {"#VC", "VMM communication exception"},
    {"#SX", "security exception"},
    {"31", "reserved exception"},
}};
constexpr std::uint64_t kPageFaultVector = 14;

// Page-fault error code: Intel SDM vol. 3A, figure 4-12.
std::string describe_page_fault(const abi::X86TrapFrame& frame) {
  std::string text = (frame.error_code & 16) != 0  ? "instruction fetch from "
                     : (frame.error_code & 2) != 0 ? "write to "
                                                   : "read of ";
  text += hex(frame.cr2);
  text += (frame.error_code & 1) != 0 ? " (not permitted)" : " (not mapped)";
  if (frame.cr2 < abi::kBootInfoAddress) {
    text += ", page 0 catches null pointers";
  }
  return text;
}

}  // namespace

std::string describe(const abi::X86TrapFrame& frame, std::uint32_t vcpu) {
  std::string text = "guest panic: ";
  if (frame.vector < kX86Exceptions.size()) {
    const ExceptionName& exception = kX86Exceptions[frame.vector];
    text += std::string(exception.name) + " (" + std::string(exception.mnemonic) + ", ";
  } else {
    text += "unknown exception (";
  }
  text += "vector " + std::to_string(frame.vector) + ") on vCPU " + std::to_string(vcpu) +
          " at rip " + hex(frame.rip);
  if (frame.vector == kPageFaultVector) {
    text += ": " + describe_page_fault(frame);
  }
  return text + "; error code " + hex(frame.error_code) + ", rsp " + hex(frame.rsp) + ", rflags " +
         hex(frame.rflags) + ", cr2 " + hex(frame.cr2) + ", rax " + hex(frame.rax) + ", rdi " +
         hex(frame.rdi) + ", rsi " + hex(frame.rsi);
}

std::string describe(const abi::Arm64TrapFrame& frame, std::uint32_t vcpu) {
  // Exception class: Arm ARM (DDI 0487), ESR_EL1.EC.
  return "guest panic: exception class " + hex((frame.esr >> 26) & 0x3f) + " (vector entry " +
         std::to_string(frame.vector) + ") on vCPU " + std::to_string(vcpu) + " at pc " +
         hex(frame.elr) + "; esr " + hex(frame.esr) + ", far " + hex(frame.far) + ", sp " +
         hex(frame.sp) + ", spsr " + hex(frame.spsr);
}

Result<std::string> read_panic_report(const GuestMemory& memory, Gpa trap_frames,
                                      std::uint32_t vcpu, Architecture architecture) {
  const Gpa at = trap_frames + vcpu * abi::kTrapFrameBytes;
  switch (architecture) {
    case Architecture::kX86_64: {
      STASIS_ASSIGN(const auto frame, memory.read_object<abi::X86TrapFrame>(at));
      return describe(frame, vcpu);
    }
    case Architecture::kArm64: {
      STASIS_ASSIGN(const auto frame, memory.read_object<abi::Arm64TrapFrame>(at));
      return describe(frame, vcpu);
    }
    case Architecture::kToy:
      break;
  }
  return "guest panic on vCPU " + std::to_string(vcpu);
}

std::string printable(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ' || text.back() == '\0')) {
    text.remove_suffix(1);
  }
  std::string out;
  for (const char c : text) {
    out += c >= ' ' && c <= '~' ? c : '.';
  }
  return out;
}

}  // namespace stasis::guests
