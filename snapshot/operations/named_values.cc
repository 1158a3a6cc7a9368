// A vCPU's state as a flat list of named values: what `stasis diff` and `stasis inspect` show.
#include <array>
#include <cstdio>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "snapshot/checksum.h"
#include "snapshot/operations.h"

namespace stasis::snapshot {
namespace {

std::string hex(std::uint64_t value) {
  std::array<char, 24> text{};
  const int length =
      std::snprintf(text.data(), text.size(), "0x%llx", static_cast<unsigned long long>(value));
  return {text.data(), static_cast<std::size_t>(length)};
}

// Collects values under a common prefix.
class Values {
 public:
  void add(std::string name, std::uint64_t value) {
    values_.push_back({std::move(name), hex(value)});
  }
  void add_text(std::string name, std::string value) {
    values_.push_back({std::move(name), std::move(value)});
  }
  std::vector<NamedValue> take() { return std::move(values_); }

 private:
  std::vector<NamedValue> values_;
};

void add_general(Values& out, const X86GeneralRegisters& g) {
  const std::array<std::pair<const char*, std::uint64_t>, 18> registers = {{
      {"rax", g.rax},
      {"rbx", g.rbx},
      {"rcx", g.rcx},
      {"rdx", g.rdx},
      {"rsi", g.rsi},
      {"rdi", g.rdi},
      {"rsp", g.rsp},
      {"rbp", g.rbp},
      {"r8", g.r8},
      {"r9", g.r9},
      {"r10", g.r10},
      {"r11", g.r11},
      {"r12", g.r12},
      {"r13", g.r13},
      {"r14", g.r14},
      {"r15", g.r15},
      {"rip", g.rip},
      {"rflags", g.rflags},
  }};
  for (const auto& [name, value] : registers) {
    out.add(std::string("general.") + name, value);
  }
}

void add_segment(Values& out, const std::string& name, const X86Segment& segment) {
  out.add("system." + name + ".base", segment.base);
  out.add("system." + name + ".limit", segment.limit);
  out.add("system." + name + ".selector", segment.selector);
  out.add("system." + name + ".attributes", segment.attributes);
}

void add_system(Values& out, const X86SystemRegisters& s) {
  add_segment(out, "cs", s.cs);
  add_segment(out, "ds", s.ds);
  add_segment(out, "es", s.es);
  add_segment(out, "fs", s.fs);
  add_segment(out, "gs", s.gs);
  add_segment(out, "ss", s.ss);
  add_segment(out, "tr", s.tr);
  add_segment(out, "ldt", s.ldt);
  const std::array<std::pair<const char*, std::uint64_t>, 11> registers = {{
      {"gdt.base", s.gdt.base},
      {"gdt.limit", s.gdt.limit},
      {"idt.base", s.idt.base},
      {"idt.limit", s.idt.limit},
      {"cr0", s.cr0},
      {"cr2", s.cr2},
      {"cr3", s.cr3},
      {"cr4", s.cr4},
      {"cr8", s.cr8},
      {"efer", s.efer},
      {"apic_base", s.apic_base},
  }};
  for (const auto& [name, value] : registers) {
    out.add(std::string("system.") + name, value);
  }
  for (std::size_t i = 0; i < s.interrupt_bitmap.size(); ++i) {
    out.add("system.interrupt_bitmap" + std::to_string(i), s.interrupt_bitmap[i]);
  }
}

void add_debug(Values& out, const X86DebugRegisters& debug) {
  for (std::size_t i = 0; i < debug.db.size(); ++i) {
    out.add("debug.db" + std::to_string(i), debug.db[i]);
  }
  out.add("debug.dr6", debug.dr6);
  out.add("debug.dr7", debug.dr7);
}

void add_events(Values& out, const X86PendingEvents& e) {
  const std::array<std::pair<const char*, std::uint64_t>, 20> values = {{
      {"exception_injected", e.exception_injected},
      {"exception_pending", e.exception_pending},
      {"exception_has_error_code", e.exception_has_error_code},
      {"exception_has_payload", e.exception_has_payload},
      {"exception_vector", e.exception_vector},
      {"exception_error_code", e.exception_error_code},
      {"exception_payload", e.exception_payload},
      {"interrupt_injected", e.interrupt_injected},
      {"interrupt_soft", e.interrupt_soft},
      {"interrupt_vector", e.interrupt_vector},
      {"interrupt_shadow", e.interrupt_shadow},
      {"nmi_injected", e.nmi_injected},
      {"nmi_pending", e.nmi_pending},
      {"nmi_masked", e.nmi_masked},
      {"sipi_vector", e.sipi_vector},
      {"smm_active", e.smm_active},
      {"smi_pending", e.smi_pending},
      {"smm_inside_nmi", e.smm_inside_nmi},
      {"smi_latched_init", e.smi_latched_init},
      {"triple_fault_pending", e.triple_fault_pending},
  }};
  for (const auto& [name, value] : values) {
    out.add(std::string("events.") + name, value);
  }
}

// The image in pieces of 64 bytes (one ZMM register), each by its checksum: a difference is found
// to within a register without printing kilobytes.
void add_xsave(Values& out, std::span<const std::byte> image) {
  out.add_text("xsave.size", std::to_string(image.size()));
  constexpr std::size_t kPieceBytes = 64;
  for (std::size_t at = 0; at < image.size(); at += kPieceBytes) {
    const auto piece = image.subspan(at, std::min(kPieceBytes, image.size() - at));
    out.add("xsave.bytes_" + std::to_string(at), chunk_checksum(piece, Gpa{}));
  }
}

std::vector<NamedValue> values_of(const X86VcpuState& state) {
  Values out;
  add_general(out, state.general);
  add_system(out, state.system);
  add_debug(out, state.debug);
  add_events(out, state.events);
  out.add("mp_state", static_cast<std::uint64_t>(state.mp_state));
  add_xsave(out, state.xsave);
  for (const X86Xcr& xcr : state.xcrs) {
    out.add("xcr" + std::to_string(xcr.index), xcr.value);
  }
  for (const X86Msr& msr : state.msrs) {
    out.add("msr." + hex(msr.index), msr.value);
  }
  for (const X86CpuidEntry& entry : state.cpuid) {
    const std::string name = "cpuid." + hex(entry.function) + "." + hex(entry.index);
    out.add_text(name, hex(entry.eax) + " " + hex(entry.ebx) + " " + hex(entry.ecx) + " " +
                           hex(entry.edx) + " flags " + hex(entry.flags));
  }
  out.add("tsc", state.tsc);
  out.add_text("tsc_khz", std::to_string(state.tsc_khz));
  return out.take();
}

// "s3_0_c1_c0_0", the architecture's generic name of a system register.
std::string arm_register_name(std::uint16_t encoding) {
  const auto field = [encoding](unsigned shift, unsigned bits) {
    return std::to_string((std::uint32_t{encoding} >> shift) & ((1U << bits) - 1U));
  };
  return "s" + field(14, 2) + "_" + field(11, 3) + "_c" + field(7, 4) + "_c" + field(3, 4) + "_" +
         field(0, 3);
}

std::vector<NamedValue> values_of(const Arm64VcpuState& state) {
  Values out;
  for (std::size_t i = 0; i < state.x.size(); ++i) {
    out.add("x" + std::to_string(i), state.x[i]);
  }
  out.add("pc", state.pc);
  out.add("pstate", state.pstate);
  out.add("sp_el0", state.sp_el0);
  out.add("sp_el1", state.sp_el1);
  for (std::size_t i = 0; i < state.q.size(); ++i) {
    out.add_text("q" + std::to_string(i), hex(state.q[i].high) + ":" + hex(state.q[i].low));
  }
  out.add("fpcr", state.fpcr);
  out.add("fpsr", state.fpsr);
  for (const Arm64SystemRegister& reg : state.system) {
    out.add("system." + arm_register_name(reg.encoding), reg.value);
  }
  for (const Arm64SystemRegister& reg : state.gic_cpu_interface) {
    out.add("gic." + arm_register_name(reg.encoding), reg.value);
  }
  for (const Arm64SystemRegister& reg : state.gic_redistributor) {
    out.add("gic_redistributor." + hex(reg.encoding), reg.value);
  }
  out.add("virtual_timer.offset", state.virtual_timer.offset);
  out.add("virtual_timer.masked", state.virtual_timer.masked);
  out.add("irq_pending", state.irq_pending);
  out.add("fiq_pending", state.fiq_pending);
  out.add("power", static_cast<std::uint64_t>(state.power));
  return out.take();
}

std::vector<NamedValue> values_of(const ToyVcpuState& state) {
  Values out;
  for (std::size_t i = 0; i < state.r.size(); ++i) {
    out.add("r" + std::to_string(i), state.r[i]);
  }
  out.add("pc", state.pc);
  out.add_text("instructions", std::to_string(state.instructions));
  out.add("halted", state.halted);
  return out.take();
}

}  // namespace

std::vector<NamedValue> named_values(const VcpuState& state) {
  return std::visit([](const auto& one) { return values_of(one); }, state);
}

}  // namespace stasis::snapshot
