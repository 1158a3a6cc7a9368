#include "guests/x86_boot.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

#include "core/check.h"
#include "guests/abi.h"

namespace stasis::guests {
namespace {

constexpr std::uint64_t kPageBytes = 4096;
constexpr std::uint64_t kLargePageBytes = 2 * abi::kMiB;
constexpr std::uint64_t kEntriesPerTable = 512;

// Intel SDM vol. 3A, 4.5.4. Accessed and dirty are set from the start, so that the processor has
// no reason to write to the tables: they stay clean and equal in every snapshot.
constexpr std::uint64_t kPresent = 1, kWritable = 2, kUser = 4, kCacheDisabled = 16;
constexpr std::uint64_t kAccessed = 32, kDirty = 64, kLarge = 128;
constexpr std::uint64_t kTable = kPresent | kWritable | kUser | kAccessed;
constexpr std::uint64_t kLeaf = kPresent | kAccessed | kDirty;

using Table = std::array<std::uint64_t, kEntriesPerTable>;

// ---- Page tables ----

constexpr std::uint64_t kPml4Address = kX86PageTablesAddress;
constexpr std::uint64_t kPdptAddress = kPml4Address + kPageBytes;
constexpr std::uint64_t kLowTableAddress = kPdptAddress + kPageBytes;
constexpr std::uint64_t kDirectoriesAddress = kLowTableAddress + kPageBytes;
// One directory a GiB: RAM, and the hole below 4 GiB.
static_assert(kDirectoriesAddress + (abi::kMemoryBytesMax / abi::kGiB + 1) * kPageBytes <=
              abi::kSystemEnd);

struct Mapping {
  std::uint64_t begin, end, flags;
};

// The first 2 MiB, page by page; what is not listed is not present.
constexpr std::array<Mapping, 5> low_mappings(std::uint32_t vcpus) {
  return {{
      {abi::kBootInfoAddress, abi::kBootInfoAddress + kPageBytes, kLeaf | kUser},
      {abi::kTrapFramesAddress, kX86StubsAddress + kPageBytes, kLeaf | kWritable},
      {abi::kMailboxAddress, abi::kMailboxAddress + sizeof(abi::Mailbox),
       kLeaf | kWritable | kUser},
      {kX86TssAddress, kX86TssAddress + vcpus * kPageBytes, kLeaf | kWritable},
      {kX86PageTablesAddress, abi::kSystemEnd, kLeaf | kWritable},
  }};
}
static_assert(sizeof(abi::Mailbox) % kPageBytes == 0);
static_assert(abi::kTrapFramesAddress + abi::kVcpusMax * abi::kTrapFrameBytes <= kX86GdtAddress);

// A directory entry for the 2 MiB at `address`, or 0 where there is nothing.
std::uint64_t directory_entry(const GuestMemory& memory, std::uint64_t address) {
  if (address == 0) {
    return kLowTableAddress | kTable;
  }
  if (address == align_down(abi::kDoorbellMmioAddress, kLargePageBytes)) {
    return address | kLeaf | kLarge | kWritable | kUser | kCacheDisabled;
  }
  const bool is_ram = std::any_of(
      memory.regions().begin(), memory.regions().end(),
      [address](const MemoryRegion& region) { return region.range.contains(Gpa{address}); });
  return is_ram ? address | kLeaf | kLarge | kWritable | kUser : 0;
}

Result<void> write_page_tables(GuestMemory& memory, std::uint32_t vcpus) {
  Table low{};
  for (const Mapping& mapping : low_mappings(vcpus)) {
    for (std::uint64_t at = mapping.begin; at < mapping.end; at += kPageBytes) {
      low[at / kPageBytes] = at | mapping.flags;
    }
  }
  STASIS_TRY(memory.write_object(Gpa{kLowTableAddress}, low));
  Table pml4{}, pdpt{};
  pml4[0] = kPdptAddress | kTable;
  const std::uint64_t end =
      std::max(memory.regions().back().range.end().value, abi::kHighMemoryBegin);
  std::uint64_t next_directory = kDirectoriesAddress;
  for (std::uint64_t gib = 0; gib * abi::kGiB < end; ++gib) {
    Table directory{};
    for (std::uint64_t i = 0; i < kEntriesPerTable; ++i) {
      directory[i] = directory_entry(memory, gib * abi::kGiB + i * kLargePageBytes);
    }
    if (std::all_of(directory.begin(), directory.end(), [](auto entry) { return entry == 0; })) {
      continue;
    }
    STASIS_TRY(memory.write_object(Gpa{next_directory}, directory));
    pdpt[gib] = next_directory | kTable;
    next_directory += kPageBytes;
  }
  STASIS_TRY(memory.write_object(Gpa{kPdptAddress}, pdpt));
  return memory.write_object(Gpa{kPml4Address}, pml4);
}

// ---- Segments ----

constexpr std::uint16_t kKernelCode = 0x08, kUserData = 0x18 | 3, kUserCode = 0x20 | 3;
constexpr std::uint16_t kFirstTss = 0x30;
constexpr std::uint64_t kTssBytes = 104;  // Intel SDM vol. 3A, figure 8-11.
constexpr std::uint64_t kIoBitmapBytes = (abi::kDoorbellPort + abi::kDoorbellWindowBytes) / 8;
// The processor reads two bytes of the bitmap at a time, so one more byte of ones follows it.
constexpr std::uint64_t kTssLimit = kTssBytes + kIoBitmapBytes;
static_assert(kTssLimit < kPageBytes);
static_assert(abi::kDoorbellPort % 8 == 0 && abi::kDoorbellWindowBytes % 8 == 0);

constexpr std::uint64_t tss_address(std::uint32_t vcpu) {
  return kX86TssAddress + vcpu * kPageBytes;
}
// RSP0: exceptions push their frame, and the stub the registers, down from the end of the slot.
constexpr std::uint64_t ring0_stack_top(std::uint32_t vcpu) {
  return abi::kTrapFramesAddress + (vcpu + 1) * abi::kTrapFrameBytes;
}

Result<void> write_gdt(GuestMemory& memory, std::uint32_t vcpus) {
  // Accessed is set in all: the processor never writes to the table.
  constexpr std::array<std::uint64_t, 6> kFlat = {
      0,
      0x00AF9B000000FFFF,  // 0x08 ring-0 code, 64-bit.
      0x00CF93000000FFFF,  // 0x10 ring-0 data.
      0x00CFF3000000FFFF,  // 0x18 ring-3 data.
      0x00AFFB000000FFFF,  // 0x20 ring-3 code, 64-bit.
      0,
  };
  STASIS_TRY(memory.write_object(Gpa{kX86GdtAddress}, kFlat));
  for (std::uint32_t vcpu = 0; vcpu < vcpus; ++vcpu) {
    constexpr std::uint64_t kBusyTss = 0x8B;
    const std::uint64_t base = tss_address(vcpu);
    const std::array<std::uint64_t, 2> descriptor = {
        kTssLimit | ((base & 0xffffff) << 16) | (kBusyTss << 40) | ((base >> 24 & 0xff) << 56),
        base >> 32};
    STASIS_TRY(memory.write_object(Gpa{kX86GdtAddress + kFirstTss + std::uint64_t{16} * vcpu},
                                   descriptor));
  }
  return {};
}

Result<void> write_tss(GuestMemory& memory, std::uint32_t vcpus) {
  for (std::uint32_t vcpu = 0; vcpu < vcpus; ++vcpu) {
    std::array<std::uint8_t, kTssLimit + 1> tss{};
    const auto store = [&tss](std::size_t offset, std::uint64_t value, std::size_t bytes) {
      for (std::size_t i = 0; i < bytes; ++i) {
        tss[offset + i] = static_cast<std::uint8_t>(value >> (8 * i));
      }
    };
    store(4, ring0_stack_top(vcpu), 8);
    store(102, kTssBytes, 2);  // Where the I/O permission bitmap begins.
    std::fill(tss.begin() + kTssBytes, tss.end(), std::uint8_t{0xff});
    std::fill_n(tss.begin() + kTssBytes + abi::kDoorbellPort / 8, abi::kDoorbellWindowBytes / 8,
                std::uint8_t{0});
    STASIS_TRY(memory.write(Gpa{tss_address(vcpu)}, std::as_bytes(std::span(tss))));
  }
  return {};
}

// ---- Exceptions ----

constexpr std::uint64_t kVectors = 32;
constexpr std::uint64_t kStubBytes = 16;

// Intel SDM vol. 3A, table 6-1; AMD APM vol. 2, 8.2 for #VC and #SX.
constexpr bool pushes_error_code(std::uint64_t vector) {
  return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 ||
         vector == 29 || vector == 30;
}

// Each vector's stub pushes what the processor did not and joins the common part, which completes
// the abi::X86TrapFrame and rings kPanic.
Result<void> write_stubs(GuestMemory& memory) {
  constexpr std::uint16_t kPanicPort =
      abi::kDoorbellPort + abi::register_offset(abi::Register::kPanic);
  constexpr std::array<std::uint8_t, 36> kCommon = {0x50,
                                                    0x53,
                                                    0x51,
                                                    0x52,  // push rax, rbx, rcx, rdx
                                                    0x56,
                                                    0x57,
                                                    0x55,  // push rsi, rdi, rbp
                                                    0x41,
                                                    0x50,
                                                    0x41,
                                                    0x51,
                                                    0x41,
                                                    0x52,
                                                    0x41,
                                                    0x53,  // push r8, r9, r10, r11
                                                    0x41,
                                                    0x54,
                                                    0x41,
                                                    0x55,
                                                    0x41,
                                                    0x56,
                                                    0x41,
                                                    0x57,  // push r12, r13, r14, r15
                                                    0x0F,
                                                    0x20,
                                                    0xD0,
                                                    0x50,  // mov rax, cr2; push rax
                                                    0x66,
                                                    0xBA,
                                                    kPanicPort & 0xff,
                                                    kPanicPort >> 8,  // mov dx, panic
                                                    0x31,
                                                    0xC0,
                                                    0xEF,  // xor eax, eax; out dx, eax
                                                    0xF4,
                                                    0xEB};  // hlt; jmp to the hlt (next byte)
  std::array<std::uint8_t, kVectors * kStubBytes + kCommon.size() + 1> code{};
  for (std::uint64_t vector = 0; vector < kVectors; ++vector) {
    const std::size_t at = vector * kStubBytes;
    // push 0, or two nops; push vector; jmp common
    const bool has_code = pushes_error_code(vector);
    const std::array<std::uint8_t, 5> stub = {static_cast<std::uint8_t>(has_code ? 0x90 : 0x6A),
                                              static_cast<std::uint8_t>(has_code ? 0x90 : 0x00),
                                              0x6A, static_cast<std::uint8_t>(vector), 0xE9};
    std::copy(stub.begin(), stub.end(), code.begin() + static_cast<std::ptrdiff_t>(at));
    const std::uint64_t distance = kVectors * kStubBytes - (at + stub.size() + 4);
    code[at + 5] = static_cast<std::uint8_t>(distance);
    code[at + 6] = static_cast<std::uint8_t>(distance >> 8);
  }
  std::copy(kCommon.begin(), kCommon.end(), code.begin() + kVectors * kStubBytes);
  code.back() = 0xFD;
  return memory.write(Gpa{kX86StubsAddress}, std::as_bytes(std::span(code)));
}

Result<void> write_idt(GuestMemory& memory) {
  // Intel SDM vol. 3A, figure 6-8. DPL 3 lets INT3 and INTO of the guest reach their gates.
  constexpr std::uint64_t kInterruptGate = 0x8E, kDpl3 = 0x60;
  std::array<std::uint64_t, 2 * kVectors> idt{};
  for (std::uint64_t vector = 0; vector < kVectors; ++vector) {
    const std::uint64_t target = kX86StubsAddress + vector * kStubBytes;
    const std::uint64_t type = kInterruptGate | (vector == 3 || vector == 4 ? kDpl3 : 0);
    idt[2 * vector] = (target & 0xffff) | (std::uint64_t{kKernelCode} << 16) | (type << 40) |
                      ((target >> 16 & 0xffff) << 48);
    idt[2 * vector + 1] = target >> 32;
  }
  return memory.write_object(Gpa{kX86IdtAddress}, idt);
}

// ---- Registers ----

X86Segment flat_segment(std::uint16_t selector, std::uint32_t attributes) {
  return X86Segment{.base = 0, .limit = 0xffffffff, .selector = selector, .attributes = attributes};
}

X86SystemRegisters start_system(std::uint32_t vcpu, const X86Features& features) {
  constexpr std::uint32_t kUserCodeAttributes = 0xA0FB, kUserDataAttributes = 0xC0F3;
  constexpr std::uint32_t kBusyTssAttributes = 0x8B, kUnusableLdt = 0x10082;
  X86SystemRegisters system;
  system.cs = flat_segment(kUserCode, kUserCodeAttributes);
  system.ds = flat_segment(kUserData, kUserDataAttributes);
  system.es = system.fs = system.gs = system.ss = system.ds;
  system.tr = X86Segment{.base = tss_address(vcpu),
                         .limit = static_cast<std::uint32_t>(kTssLimit),
                         .selector = static_cast<std::uint16_t>(kFirstTss + 16 * vcpu),
                         .attributes = kBusyTssAttributes};
  system.ldt = X86Segment{.base = 0, .limit = 0xffff, .selector = 0, .attributes = kUnusableLdt};
  system.gdt =
      X86DescriptorTable{.base = kX86GdtAddress,
                         .limit = static_cast<std::uint16_t>(kFirstTss + 16 * abi::kVcpusMax - 1)};
  system.idt = X86DescriptorTable{.base = kX86IdtAddress, .limit = 16 * kVectors - 1};
  constexpr std::uint64_t kProtection = 1, kMonitorCoprocessor = 2, kExtensionType = 16,
                          kNumericError = 32, kWriteProtect = 1 << 16, kPaging = 1U << 31;
  system.cr0 =
      kProtection | kMonitorCoprocessor | kExtensionType | kNumericError | kWriteProtect | kPaging;
  constexpr std::uint64_t kPae = 1 << 5, kOsFxsr = 1 << 9, kOsXmmException = 1 << 10,
                          kOsXsave = 1 << 18;
  system.cr4 = kPae | kOsFxsr | kOsXmmException | (features.avx ? kOsXsave : 0);
  system.cr3 = kPml4Address;
  constexpr std::uint64_t kLongModeEnable = 1 << 8, kLongModeActive = 1 << 10;
  system.efer = kLongModeEnable | kLongModeActive;
  constexpr std::uint64_t kApicAtReset = 0xFEE00800, kBootProcessor = 0x100;
  system.apic_base = kApicAtReset | (vcpu == 0 ? kBootProcessor : 0);
  return system;
}

}  // namespace

X86Features x86_features(const std::vector<std::string>& names) {
  const auto has = [&names](std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  return X86Features{.avx = has("avx"), .avx512 = has("avx") && has("avx512f")};
}

Result<void> write_x86_system(GuestMemory& memory, std::uint32_t vcpus) {
  STASIS_CHECK(vcpus >= 1 && vcpus <= abi::kVcpusMax);
  STASIS_TRY(write_page_tables(memory, vcpus));
  STASIS_TRY(write_gdt(memory, vcpus));
  STASIS_TRY(write_tss(memory, vcpus));
  STASIS_TRY(write_stubs(memory));
  return write_idt(memory);
}

X86VcpuState x86_start_state(Gpa entry, std::uint32_t vcpu, const X86Features& features) {
  X86VcpuState state;
  state.general.rip = entry.value;
  // The entry point is called, not jumped to: a return address would lie on top of the stack.
  state.general.rsp = abi::stack_top(vcpu) - 8;
  state.general.rdi = abi::kBootInfoAddress;
  state.general.rsi = vcpu;
  state.system = start_system(vcpu, features);
  if (features.avx) {
    // Intel SDM vol. 1, 13.3: x87, SSE and AVX state; the three AVX-512 components.
    constexpr std::uint64_t kAvxState = 0x7, kAvx512State = 0xE0;
    state.xcrs = {X86Xcr{.index = 0, .value = kAvxState | (features.avx512 ? kAvx512State : 0)}};
  }
  return state;
}

}  // namespace stasis::guests
