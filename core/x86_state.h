// Everything of an x86-64 vCPU that a guest can observe or that its next instruction needs, as
// portable values. Kernel structures and their padding stay inside the backend that fills this in.
// Sources: Intel SDM vol. 3A ch. 2 (system registers), vol. 1 ch. 13 (XSAVE); AMD APM vol. 2.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace stasis {

struct X86GeneralRegisters {
  std::uint64_t rax = 0, rbx = 0, rcx = 0, rdx = 0, rsi = 0, rdi = 0, rsp = 0, rbp = 0;
  std::uint64_t r8 = 0, r9 = 0, r10 = 0, r11 = 0, r12 = 0, r13 = 0, r14 = 0, r15 = 0;
  std::uint64_t rip = 0, rflags = 2;
  friend bool operator==(const X86GeneralRegisters&, const X86GeneralRegisters&) = default;
};

// A segment register with its hidden part. `attributes` packs the descriptor's bits as VMX does:
// type[3:0] s[4] dpl[6:5] present[7] avl[12] l[13] db[14] g[15] unusable[16].
struct X86Segment {
  std::uint64_t base = 0;
  std::uint32_t limit = 0;
  std::uint16_t selector = 0;
  std::uint32_t attributes = 0;
  friend bool operator==(const X86Segment&, const X86Segment&) = default;
};

struct X86DescriptorTable {
  std::uint64_t base = 0;
  std::uint16_t limit = 0;
  friend bool operator==(const X86DescriptorTable&, const X86DescriptorTable&) = default;
};

struct X86SystemRegisters {
  X86Segment cs, ds, es, fs, gs, ss, tr, ldt;
  X86DescriptorTable gdt, idt;
  std::uint64_t cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0, cr8 = 0;
  std::uint64_t efer = 0;
  std::uint64_t apic_base = 0;
  // Bit n set: external interrupt vector n was accepted but not yet delivered.
  std::array<std::uint64_t, 4> interrupt_bitmap = {};
  friend bool operator==(const X86SystemRegisters&, const X86SystemRegisters&) = default;
};

struct X86DebugRegisters {
  std::array<std::uint64_t, 4> db = {};
  std::uint64_t dr6 = 0xffff0ff0, dr7 = 0x400;
  friend bool operator==(const X86DebugRegisters&, const X86DebugRegisters&) = default;
};

// Exceptions, interrupts, NMIs and SMIs in flight at the snapshot (KVM_GET_VCPU_EVENTS).
struct X86PendingEvents {
  bool exception_injected = false, exception_pending = false, exception_has_error_code = false;
  bool exception_has_payload = false;
  std::uint8_t exception_vector = 0;
  std::uint32_t exception_error_code = 0;
  std::uint64_t exception_payload = 0;
  bool interrupt_injected = false, interrupt_soft = false;
  std::uint8_t interrupt_vector = 0, interrupt_shadow = 0;
  bool nmi_injected = false, nmi_pending = false, nmi_masked = false;
  std::uint32_t sipi_vector = 0;
  bool smm_active = false, smi_pending = false, smm_inside_nmi = false, smi_latched_init = false;
  bool triple_fault_pending = false;
  friend bool operator==(const X86PendingEvents&, const X86PendingEvents&) = default;
};

enum class X86MpState : std::uint8_t {  // KVM_GET_MP_STATE's values, named.
  kRunnable = 0,
  kUninitialized = 1,
  kInitReceived = 2,
  kHalted = 3,
  kSipiReceived = 4,
};

struct X86Msr {
  std::uint32_t index = 0;
  std::uint64_t value = 0;
  friend bool operator==(const X86Msr&, const X86Msr&) = default;
};

struct X86Xcr {
  std::uint32_t index = 0;
  std::uint64_t value = 0;
  friend bool operator==(const X86Xcr&, const X86Xcr&) = default;
};

struct X86CpuidEntry {
  std::uint32_t function = 0, index = 0, flags = 0;
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  friend bool operator==(const X86CpuidEntry&, const X86CpuidEntry&) = default;
};

// Value. An empty list leaves that part of the vCPU as it was created: the loader of a fresh guest
// fills in `general`, `system` and `xcrs`; Vcpu::save_state() fills in everything that exists.
struct X86VcpuState {
  X86GeneralRegisters general;
  X86SystemRegisters system;
  X86DebugRegisters debug;
  X86PendingEvents events;
  X86MpState mp_state = X86MpState::kRunnable;
  std::vector<std::byte> xsave;      // Standard (non-compacted) XSAVE image, the host's full size.
  std::vector<X86Xcr> xcrs;          // XCR0 first.
  std::vector<X86Msr> msrs;          // Ascending index; IA32_TSC is in `tsc`, not here.
  std::vector<X86CpuidEntry> cpuid;  // As given to the vCPU when it was created.
  std::uint64_t tsc = 0;             // Guest TSC at the snapshot.
  std::uint32_t tsc_khz = 0;         // 0: unknown.
  friend bool operator==(const X86VcpuState&, const X86VcpuState&) = default;
};

}  // namespace stasis
