#include "kvm/x86_transfer.h"

#include <algorithm>
#include <array>

namespace stasis::kvm {

kvm_segment to_kvm(const X86Segment& segment) {
  const std::uint32_t a = segment.attributes;
  const auto bits = [a](unsigned shift, unsigned mask) {
    return static_cast<__u8>((a >> shift) & mask);
  };
  kvm_segment out{};
  out.base = segment.base;
  out.limit = segment.limit;
  out.selector = segment.selector;
  out.type = bits(0, 0xf);
  out.s = bits(4, 1);
  out.dpl = bits(5, 3);
  out.present = bits(7, 1);
  out.avl = bits(12, 1);
  out.l = bits(13, 1);
  out.db = bits(14, 1);
  out.g = bits(15, 1);
  out.unusable = bits(16, 1);
  return out;
}

X86Segment from_kvm(const kvm_segment& segment) {
  const auto bits = [](std::uint32_t value, unsigned mask, unsigned shift) {
    return (value & mask) << shift;
  };
  return X86Segment{segment.base, segment.limit, segment.selector,
                    bits(segment.type, 0xf, 0) | bits(segment.s, 1, 4) | bits(segment.dpl, 3, 5) |
                        bits(segment.present, 1, 7) | bits(segment.avl, 1, 12) |
                        bits(segment.l, 1, 13) | bits(segment.db, 1, 14) | bits(segment.g, 1, 15) |
                        bits(segment.unusable, 1, 16)};
}

kvm_regs to_kvm(const X86GeneralRegisters& r) {
  return kvm_regs{r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rsp, r.rbp, r.r8,
                  r.r9,  r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rip, r.rflags};
}

X86GeneralRegisters from_kvm(const kvm_regs& r) {
  return X86GeneralRegisters{r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rsp, r.rbp, r.r8,
                             r.r9,  r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rip, r.rflags};
}

kvm_sregs to_kvm(const X86SystemRegisters& r) {
  kvm_sregs out{};
  out.cs = to_kvm(r.cs);
  out.ds = to_kvm(r.ds);
  out.es = to_kvm(r.es);
  out.fs = to_kvm(r.fs);
  out.gs = to_kvm(r.gs);
  out.ss = to_kvm(r.ss);
  out.tr = to_kvm(r.tr);
  out.ldt = to_kvm(r.ldt);
  out.gdt.base = r.gdt.base;
  out.gdt.limit = r.gdt.limit;
  out.idt.base = r.idt.base;
  out.idt.limit = r.idt.limit;
  out.cr0 = r.cr0;
  out.cr2 = r.cr2;
  out.cr3 = r.cr3;
  out.cr4 = r.cr4;
  out.cr8 = r.cr8;
  out.efer = r.efer;
  out.apic_base = r.apic_base;
  std::copy(r.interrupt_bitmap.begin(), r.interrupt_bitmap.end(), out.interrupt_bitmap);
  return out;
}

X86SystemRegisters from_kvm(const kvm_sregs& r) {
  X86SystemRegisters out;
  out.cs = from_kvm(r.cs);
  out.ds = from_kvm(r.ds);
  out.es = from_kvm(r.es);
  out.fs = from_kvm(r.fs);
  out.gs = from_kvm(r.gs);
  out.ss = from_kvm(r.ss);
  out.tr = from_kvm(r.tr);
  out.ldt = from_kvm(r.ldt);
  out.gdt = {r.gdt.base, r.gdt.limit};
  out.idt = {r.idt.base, r.idt.limit};
  out.cr0 = r.cr0;
  out.cr2 = r.cr2;
  out.cr3 = r.cr3;
  out.cr4 = r.cr4;
  out.cr8 = r.cr8;
  out.efer = r.efer;
  out.apic_base = r.apic_base;
  std::copy(std::begin(r.interrupt_bitmap), std::end(r.interrupt_bitmap),
            out.interrupt_bitmap.begin());
  return out;
}

kvm_debugregs to_kvm(const X86DebugRegisters& r) {
  kvm_debugregs out{};
  std::copy(r.db.begin(), r.db.end(), out.db);
  out.dr6 = r.dr6;
  out.dr7 = r.dr7;
  return out;
}

X86DebugRegisters from_kvm(const kvm_debugregs& r) {
  X86DebugRegisters out;
  std::copy(std::begin(r.db), std::end(r.db), out.db.begin());
  out.dr6 = r.dr6;
  out.dr7 = r.dr7;
  return out;
}

namespace {

// KVM's flags are bytes.
constexpr std::uint8_t flag(bool set) {
  return static_cast<std::uint8_t>(set);
}

}  // namespace

kvm_vcpu_events to_kvm(const X86PendingEvents& e, EventFeatures features) {
  kvm_vcpu_events out{};
  out.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
  out.exception.injected = flag(e.exception_injected);
  out.exception.nr = e.exception_vector;
  out.exception.has_error_code = flag(e.exception_has_error_code);
  out.exception.error_code = e.exception_error_code;
  if (features.payload) {
    out.flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
    out.exception.pending = flag(e.exception_pending);
    out.exception_has_payload = flag(e.exception_has_payload);
    out.exception_payload = e.exception_payload;
  }
  out.interrupt.injected = flag(e.interrupt_injected);
  out.interrupt.nr = e.interrupt_vector;
  out.interrupt.soft = flag(e.interrupt_soft);
  out.interrupt.shadow = e.interrupt_shadow;
  out.nmi.injected = flag(e.nmi_injected);
  out.nmi.pending = flag(e.nmi_pending);
  out.nmi.masked = flag(e.nmi_masked);
  out.sipi_vector = e.sipi_vector;
  if (e.sipi_vector != 0) {
    out.flags |= KVM_VCPUEVENT_VALID_SIPI_VECTOR;
  }
  // Kernels without system management mode refuse the flag, also with zeros.
  if (e.smm_active || e.smi_pending || e.smm_inside_nmi || e.smi_latched_init) {
    out.flags |= KVM_VCPUEVENT_VALID_SMM;
    out.smi.smm = flag(e.smm_active);
    out.smi.pending = flag(e.smi_pending);
    out.smi.smm_inside_nmi = flag(e.smm_inside_nmi);
    out.smi.latched_init = flag(e.smi_latched_init);
  }
  if (features.triple_fault) {
    out.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
    out.triple_fault.pending = flag(e.triple_fault_pending);
  }
  return out;
}

X86PendingEvents from_kvm(const kvm_vcpu_events& e) {
  X86PendingEvents out;
  out.exception_injected = e.exception.injected != 0;
  out.exception_vector = e.exception.nr;
  out.exception_has_error_code = e.exception.has_error_code != 0;
  out.exception_error_code = e.exception.error_code;
  if ((e.flags & KVM_VCPUEVENT_VALID_PAYLOAD) != 0) {
    out.exception_pending = e.exception.pending != 0;
    out.exception_has_payload = e.exception_has_payload != 0;
    out.exception_payload = e.exception_payload;
  }
  out.interrupt_injected = e.interrupt.injected != 0;
  out.interrupt_vector = e.interrupt.nr;
  out.interrupt_soft = e.interrupt.soft != 0;
  out.interrupt_shadow = e.interrupt.shadow;
  out.nmi_injected = e.nmi.injected != 0;
  out.nmi_pending = e.nmi.pending != 0;
  out.nmi_masked = e.nmi.masked != 0;
  out.sipi_vector = e.sipi_vector;
  out.smm_active = e.smi.smm != 0;
  out.smi_pending = e.smi.pending != 0;
  out.smm_inside_nmi = e.smi.smm_inside_nmi != 0;
  out.smi_latched_init = e.smi.latched_init != 0;
  out.triple_fault_pending =
      (e.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT) != 0 && e.triple_fault.pending != 0;
  return out;
}

std::string hex(std::uint64_t value) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  do {
    text.insert(text.begin(), kDigits[value & 0xfU]);
    value >>= 4U;
  } while (value != 0);
  return "0x" + text;
}

std::string msr_name(std::uint32_t index) {
  struct Named {
    std::uint32_t index;
    std::string_view name;
  };
  constexpr std::array kNames = std::to_array<Named>({
      {0x10, "IA32_TIME_STAMP_COUNTER"}, {0x3a, "IA32_FEATURE_CONTROL"},
      {0x3b, "IA32_TSC_ADJUST"},         {0x48, "IA32_SPEC_CTRL"},
      {0x10a, "IA32_ARCH_CAPABILITIES"}, {0x174, "IA32_SYSENTER_CS"},
      {0x175, "IA32_SYSENTER_ESP"},      {0x176, "IA32_SYSENTER_EIP"},
      {0x1a0, "IA32_MISC_ENABLE"},       {0x277, "IA32_PAT"},
      {0x6e0, "IA32_TSC_DEADLINE"},      {0xda0, "IA32_XSS"},
      {0xc0000080, "IA32_EFER"},         {0xc0000081, "IA32_STAR"},
      {0xc0000082, "IA32_LSTAR"},        {0xc0000083, "IA32_CSTAR"},
      {0xc0000084, "IA32_FMASK"},        {0xc0000100, "IA32_FS_BASE"},
      {0xc0000101, "IA32_GS_BASE"},      {0xc0000102, "IA32_KERNEL_GS_BASE"},
      {0xc0000103, "IA32_TSC_AUX"},
  });
  const auto* found = std::find_if(kNames.begin(), kNames.end(),
                                   [index](const Named& named) { return named.index == index; });
  const std::string number = hex(index);
  return found == kNames.end() ? "MSR " + number : std::string(found->name) + " (" + number + ")";
}

std::string_view exit_reason_name(std::uint32_t reason) {
  switch (reason) {
    case KVM_EXIT_UNKNOWN:
      return "KVM_EXIT_UNKNOWN";
    case KVM_EXIT_EXCEPTION:
      return "KVM_EXIT_EXCEPTION";
    case KVM_EXIT_IO:
      return "KVM_EXIT_IO";
    case KVM_EXIT_HYPERCALL:
      return "KVM_EXIT_HYPERCALL";
    case KVM_EXIT_DEBUG:
      return "KVM_EXIT_DEBUG";
    case KVM_EXIT_HLT:
      return "KVM_EXIT_HLT";
    case KVM_EXIT_MMIO:
      return "KVM_EXIT_MMIO";
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      return "KVM_EXIT_IRQ_WINDOW_OPEN";
    case KVM_EXIT_SHUTDOWN:
      return "KVM_EXIT_SHUTDOWN";
    case KVM_EXIT_FAIL_ENTRY:
      return "KVM_EXIT_FAIL_ENTRY";
    case KVM_EXIT_INTR:
      return "KVM_EXIT_INTR";
    case KVM_EXIT_SET_TPR:
      return "KVM_EXIT_SET_TPR";
    case KVM_EXIT_INTERNAL_ERROR:
      return "KVM_EXIT_INTERNAL_ERROR";
    case KVM_EXIT_SYSTEM_EVENT:
      return "KVM_EXIT_SYSTEM_EVENT";
    case KVM_EXIT_MEMORY_FAULT:
      return "KVM_EXIT_MEMORY_FAULT";
    default:
      return "an exit that this backend does not know";
  }
}

}  // namespace stasis::kvm
