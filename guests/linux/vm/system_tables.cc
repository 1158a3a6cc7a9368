#include "guests/linux/vm/system_tables.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "guests/linux/vm/layout.h"

namespace stasis::linux_guest::vm {
namespace {

using layout::kKernelBase;

// Selectors as Linux has them (arch/x86/include/asm/segment.h): programs can read theirs.
constexpr std::uint16_t kKernelCode = 0x10, kKernelData = 0x18, kUserData = 0x2b, kUserCode = 0x33;
constexpr std::uint16_t kTssSelector = 0x40;

constexpr std::uint64_t kTssBytes = 104;  // Intel SDM vol. 3A, figure 8-11.
constexpr std::uint64_t kIoBitmapBytes = 256 / 8;
constexpr std::uint64_t kTssLimit = kTssBytes + kIoBitmapBytes;  // And one byte of ones.

// Ring 3's byte of the I/O permission bitmap: eight ports, of which two exist.
constexpr std::uint64_t kUserPortByte = layout::kPortSyscall / 8;
static_assert(layout::kPortSyscall % 8 == 0 && layout::kPortWait / 8 == kUserPortByte);
static_assert(layout::kPortRewritten / 8 != kUserPortByte);
static_assert((layout::kPortBase + layout::kVectors - 1) / 8 != kUserPortByte);

constexpr std::uint64_t kStubBytes = 16;

template <typename T>
void store(GuestRam& ram, std::uint64_t gpa, const T& value) {
  const auto out = ram.to_write(Gpa{gpa}, sizeof(value));
  std::memcpy(out.data(), &value, out.size());
}

constexpr std::uint8_t byte_of(std::uint64_t value, unsigned shift = 0) {
  return static_cast<std::uint8_t>(value >> shift);
}

void write_gdt(GuestRam& ram) {
  constexpr std::uint64_t kBusyTss = 0x8B;
  constexpr std::uint64_t kBase = kKernelBase + layout::kTss;
  // Accessed is set in all: the processor never writes to the table.
  constexpr std::array<std::uint64_t, 10> kTable = {
      0,
      0,
      0x00AF9B000000FFFF,  // 0x10 ring-0 code, 64-bit.
      0x00CF93000000FFFF,  // 0x18 ring-0 data.
      0,
      0x00CFF3000000FFFF,  // 0x28 ring-3 data.
      0x00AFFB000000FFFF,  // 0x30 ring-3 code, 64-bit.
      0,
      kTssLimit | ((kBase & 0xffffff) << 16) | (kBusyTss << 40) | ((kBase >> 24 & 0xff) << 56),
      kBase >> 32,
  };
  store(ram, layout::kGdt, kTable);
}

void write_tss(GuestRam& ram) {
  std::array<std::uint8_t, kTssLimit + 1> tss{};
  const std::uint64_t stack = kKernelBase + layout::kStackTop;
  std::memcpy(tss.data() + 4, &stack, sizeof(stack));  // RSP0.
  tss[102] = kTssBytes;                                // Where the bitmap begins.
  std::fill(tss.begin() + kTssBytes, tss.end(), std::uint8_t{0xff});
  tss[kTssBytes + kUserPortByte] = 0;
  store(ram, layout::kTss, tss);
}

void write_idt(GuestRam& ram) {
  // Intel SDM vol. 3A, figure 6-8. DPL 3 lets INT3 and INTO reach their gates.
  constexpr std::uint64_t kInterruptGate = 0x8E, kDpl3 = 0x60;
  std::array<std::uint64_t, 2 * layout::kVectors> idt{};
  for (std::uint64_t vector = 0; vector < layout::kVectors; ++vector) {
    const std::uint64_t target = kKernelBase + layout::kKernelStubs + vector * kStubBytes;
    const std::uint64_t type = kInterruptGate | (vector == 3 || vector == 4 ? kDpl3 : 0);
    idt[2 * vector] = (target & 0xffff) | (std::uint64_t{kKernelCode} << 16) | (type << 40) |
                      ((target >> 16 & 0xffff) << 48);
    idt[2 * vector + 1] = target >> 32;
  }
  store(ram, layout::kIdt, idt);
}

void write_stubs(GuestRam& ram) {
  constexpr std::uint8_t kOut = 0xe6, kHalt = 0xf4, kBreakpoint = 0xcc;
  std::array<std::uint8_t, kPageBytes> kernel{};
  kernel.fill(kHalt);
  for (std::uint64_t vector = 0; vector < layout::kVectors; ++vector) {
    kernel[vector * kStubBytes] = kOut;
    kernel[vector * kStubBytes + 1] = byte_of(layout::kPortBase + vector);
  }
  constexpr std::array<std::uint8_t, 30> kRewriter = {0x48, 0x8b,
                                                      0x3b,  // next: mov (%rbx), %rdi
                                                      0x48, 0x89,
                                                      0xfe,  //       mov %rdi, %rsi
                                                      0x48, 0x8b,
                                                      0x4b, 0x08,  //       mov 8(%rbx), %rcx
                                                      0xf3, 0x48,
                                                      0xa5,  //       rep movsq
                                                      0x48, 0x83,
                                                      0xc3, 0x10,  //       add $16, %rbx
                                                      0xff, 0xca,  //       dec %edx
                                                      0x75, byte_of(0x100 - 21),  //       jnz next
                                                      0x0f, 0x20,
                                                      0xd8,  //       mov %cr3, %rax
                                                      0x0f, 0x22,
                                                      0xd8,  //       mov %rax, %cr3
                                                      kOut, byte_of(layout::kPortRewritten),
                                                      kHalt};
  std::copy(kRewriter.begin(), kRewriter.end(), kernel.begin() + 0x400);
  static_assert(layout::kRewriteEntry == kKernelBase + layout::kKernelStubs + 0x400);
  store(ram, layout::kKernelStubs, kernel);

  std::array<std::uint8_t, kPageBytes> user{};
  user.fill(kBreakpoint);
  user[0] = kOut;
  user[1] = byte_of(layout::kPortSyscall);
  constexpr std::size_t kWait = layout::kWaitEntry - layout::kUserStubsPage;
  user[kWait] = 0x0f;  // rdtsc
  user[kWait + 1] = 0x31;
  user[kWait + 2] = kOut;
  user[kWait + 3] = byte_of(layout::kPortWait);
  store(ram, layout::kUserStubs, user);
}

// The pool and everything below it, supervisor only, at kKernelBase.
void write_kernel_map(GuestRam& ram, std::uint64_t memory_bytes) {
  constexpr std::uint64_t kPointers = layout::kRootTable + kPageBytes;
  constexpr std::uint64_t kDirectory = kPointers + kPageBytes;
  constexpr std::uint64_t kFlags = pte::kPresent | pte::kWritable | pte::kAccessed;
  ram.store(Gpa{layout::kRootTable + std::uint64_t{256} * 8}, kPointers | kFlags);
  ram.store(Gpa{kPointers}, kDirectory | kFlags);
  for (std::uint64_t at = 0; at < layout::tables_end(memory_bytes); at += layout::kHugePageBytes) {
    ram.store(Gpa{kDirectory + at / layout::kHugePageBytes * 8},
              at | kFlags | pte::kDirty | pte::kHuge);
  }
}

X86Segment flat(std::uint16_t selector, std::uint32_t attributes) {
  return X86Segment{.base = 0, .limit = 0xffffffff, .selector = selector, .attributes = attributes};
}

// X86Segment::attributes of flat 64-bit code and of data.
constexpr std::uint32_t kCode0 = 0xA09B, kCode3 = 0xA0FB, kData0 = 0xC093, kData3 = 0xC0F3;

constexpr bool pushes_error_code(std::uint8_t vector) {  // Intel SDM vol. 3A, table 6-1.
  return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 ||
         vector == 29 || vector == 30;
}

}  // namespace

X86Segment user_code() {
  return flat(kUserCode, kCode3);
}
X86Segment user_stack() {
  return flat(kUserData, kData3);
}
X86Segment kernel_code() {
  return flat(kKernelCode, kCode0);
}
X86Segment kernel_stack() {
  return flat(kKernelData, kData0);
}

void write_system_tables(GuestRam& ram, std::uint64_t memory_bytes, PageTables& tables) {
  write_gdt(ram);
  write_tss(ram);
  write_idt(ram);
  write_stubs(ram);
  write_kernel_map(ram, memory_bytes);
  tables.map(layout::kUserStubsPage, Gpa{layout::kUserStubs}, 1,
             pte::kPresent | pte::kUser | pte::kAccessed | pte::kDirty);
}

X86VcpuState start_state(const X86GeneralRegisters& general, const guests::X86Features& features) {
  constexpr std::uint32_t kBusyTssAttributes = 0x8B, kUnusableLdt = 0x10082;
  X86VcpuState state;
  state.general = general;
  X86SystemRegisters& system = state.system;
  system.cs = user_code();
  system.ss = system.ds = system.es = system.fs = system.gs = user_stack();
  system.tr = X86Segment{.base = kKernelBase + layout::kTss,
                         .limit = static_cast<std::uint32_t>(kTssLimit),
                         .selector = kTssSelector,
                         .attributes = kBusyTssAttributes};
  system.ldt = X86Segment{.base = 0, .limit = 0xffff, .selector = 0, .attributes = kUnusableLdt};
  system.gdt = X86DescriptorTable{.base = kKernelBase + layout::kGdt, .limit = 10 * 8 - 1};
  system.idt =
      X86DescriptorTable{.base = kKernelBase + layout::kIdt, .limit = 16 * layout::kVectors - 1};
  constexpr std::uint64_t kProtection = 1, kMonitorCoprocessor = 2, kExtensionType = 16,
                          kNumericError = 32, kWriteProtect = 1 << 16, kPaging = 1U << 31;
  system.cr0 =
      kProtection | kMonitorCoprocessor | kExtensionType | kNumericError | kWriteProtect | kPaging;
  // Neither SMEP nor SMAP: where SYSCALL enters ring 0, that executes the stub on a user page.
  constexpr std::uint64_t kPae = 1 << 5, kOsFxsr = 1 << 9, kOsXmmException = 1 << 10,
                          kFsGsBase = 1 << 16, kOsXsave = 1 << 18;
  system.cr4 = kPae | kOsFxsr | kOsXmmException | kFsGsBase | (features.avx ? kOsXsave : 0);
  system.cr3 = layout::kRootTable;
  constexpr std::uint64_t kSystemCalls = 1, kLongModeEnable = 1 << 8, kLongModeActive = 1 << 10,
                          kNoExecuteEnable = 1 << 11;
  system.efer = kSystemCalls | kLongModeEnable | kLongModeActive | kNoExecuteEnable;
  constexpr std::uint64_t kApicAtReset = 0xFEE00800, kBootProcessor = 0x100;
  system.apic_base = kApicAtReset | kBootProcessor;
  if (features.avx) {
    // Intel SDM vol. 1, 13.3: x87, SSE and AVX state; the three AVX-512 components.
    constexpr std::uint64_t kAvxState = 0x7, kAvx512State = 0xE0;
    state.xcrs = {X86Xcr{.index = 0, .value = kAvxState | (features.avx512 ? kAvx512State : 0)}};
  }
  // Intel SDM vol. 3A, 5.8.8. The mask is that of Linux's syscall_init().
  constexpr std::uint32_t kStar = 0xc0000081, kLstar = 0xc0000082, kFmask = 0xc0000084;
  constexpr std::uint64_t kFlagsCleared = 0x257fd5;
  state.msrs = {{kStar, (std::uint64_t{0x23} << 48) | (std::uint64_t{kKernelCode} << 32)},
                {kLstar, layout::kSyscallEntry},
                {kFmask, kFlagsCleared}};
  return state;
}

ExceptionFrame read_exception_frame(const GuestRam& ram, std::uint8_t vector) {
  std::array<std::uint64_t, 6> words{};
  const auto bytes = ram.view(Gpa{layout::kStackTop - sizeof(words)}, sizeof(words));
  std::memcpy(words.data(), bytes.data(), bytes.size());
  return {.error_code = pushes_error_code(vector) ? words[0] : 0,
          .rip = words[1],
          .cs = words[2],
          .rflags = words[3],
          .rsp = words[4]};
}

X86TrapRegisters begin_rewriting(GuestRam& ram, std::vector<EntryRun>& rewrites,
                                 const X86TrapRegisters& user) {
  constexpr std::uint64_t kRunsMax = (layout::kRewriteListEnd - layout::kRewriteList) / 16;
  const std::uint64_t runs = std::min<std::uint64_t>(rewrites.size(), kRunsMax);
  for (std::uint64_t i = 0; i < runs; ++i) {
    ram.store(Gpa{layout::kRewriteList + i * 16}, kKernelBase + rewrites[i].first.value);
    ram.store(Gpa{layout::kRewriteList + i * 16 + 8}, rewrites[i].count);
  }
  rewrites.erase(rewrites.begin(), rewrites.begin() + static_cast<std::ptrdiff_t>(runs));
  X86TrapRegisters registers = user;
  registers.general = {};
  registers.general.rip = layout::kRewriteEntry;
  registers.general.rsp = kKernelBase + layout::kStackTop;
  registers.general.rbx = kKernelBase + layout::kRewriteList;
  registers.general.rdx = runs;
  registers.cs = kernel_code();
  registers.ss = kernel_stack();
  return registers;
}

}  // namespace stasis::linux_guest::vm
