#include "tests/support/x86_ring3.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace stasis::x86_ring3 {
namespace {

constexpr std::uint64_t kPml4 = 0x1000;
constexpr std::uint64_t kPdpt = 0x2000;
constexpr std::uint64_t kPageDirectories = 0x3000;  // One for each GiB.
constexpr std::uint64_t kGdt = 0x10000;
constexpr std::uint64_t kIdt = 0x11000;
constexpr std::uint64_t kHandler = 0x12000;
constexpr std::uint64_t kTss = 0x20000;  // Three pages each: the I/O bitmap has 8 KiB.
constexpr std::uint64_t kTssBytes = 0x3000;
constexpr std::uint64_t kRing0Stacks = 0x80000;
constexpr std::uint64_t kRing3Stacks = 0xa0000;
constexpr std::uint64_t kStackBytes = 0x1000;
constexpr std::uint32_t kVcpus = 32;

// SDM vol. 3A, 4.5. Accessed and dirty are set at once, so that no processor writes a table.
constexpr std::uint64_t kTableEntry = 0x27;  // Present, writable, user, accessed.
constexpr std::uint64_t kLargeEntry = 0xe7;  // And dirty, large.
constexpr std::uint64_t kLargeBytes = std::uint64_t{2} << 20U;
constexpr std::uint64_t kGib = std::uint64_t{1} << 30U;

// The selectors that the processor shows in ring 3 when the host is Linux with the PVM module.
constexpr std::uint16_t kRing0Code = 0x08;
constexpr std::uint16_t kRing3Data = 0x2b;
constexpr std::uint16_t kRing3Code = 0x33;
constexpr std::uint16_t kTaskSelector = 0x40;
constexpr std::uint64_t kGeneralProtection = 13;
constexpr std::uint32_t kIoBitmapOffset = 104;

constexpr std::uint64_t code_descriptor(std::uint64_t dpl) {
  return 0x00af9b000000ffff | (dpl << 45U);
}
constexpr std::uint64_t data_descriptor(std::uint64_t dpl) {
  return 0x00cf93000000ffff | (dpl << 45U);
}

X86Segment flat_segment(std::uint16_t selector, std::uint32_t type, std::uint32_t long_mode) {
  const std::uint32_t dpl = selector & 3U;
  return {0, 0xffffffff, selector,
          type | 1U << 4U | dpl << 5U | 1U << 7U | long_mode << 13U | (1U - long_mode) << 14U |
              1U << 15U};
}

Result<void> write_tables(GuestMemory& memory, std::uint64_t mapped_bytes) {
  STASIS_TRY(memory.write_object(Gpa{kPml4}, kPdpt | kTableEntry));
  for (std::uint64_t gib = 0; gib * kGib < mapped_bytes; ++gib) {
    const std::uint64_t directory = kPageDirectories + gib * 0x1000;
    STASIS_TRY(memory.write_object(Gpa{kPdpt + gib * 8}, directory | kTableEntry));
    std::vector<std::uint64_t> entries(512);
    for (std::uint64_t i = 0; i < 512 && gib * kGib + i * kLargeBytes < mapped_bytes; ++i) {
      entries[i] = (gib * kGib + i * kLargeBytes) | kLargeEntry;
    }
    STASIS_TRY(memory.write(Gpa{directory}, std::as_bytes(std::span(entries))));
  }
  return {};
}

}  // namespace

Result<void> write_environment(GuestMemory& memory, std::uint64_t mapped_bytes) {
  STASIS_TRY(write_tables(memory, std::min(mapped_bytes, kMappedBytesMax)));
  const std::array<std::uint64_t, 7> gdt = {0, code_descriptor(0), data_descriptor(0), 0,
                                            0, data_descriptor(3), code_descriptor(3)};
  STASIS_TRY(memory.write(Gpa{kGdt}, std::as_bytes(std::span(gdt))));
  // SDM vol. 3A, 6.14.1: a 64-bit interrupt gate.
  const std::array<std::uint64_t, 2> gate = {
      (kHandler & 0xffffU) | std::uint64_t{kRing0Code} << 16U | std::uint64_t{0x8e} << 40U |
          (kHandler >> 16U) << 48U,
      0};
  STASIS_TRY(memory.write(Gpa{kIdt + kGeneralProtection * 16}, std::as_bytes(std::span(gate))));
  constexpr std::array<std::uint8_t, 3> kHaltForever = {0xf4, 0xeb, 0xfd};  // 1: hlt; jmp 1b
  STASIS_TRY(memory.write(Gpa{kHandler}, std::as_bytes(std::span(kHaltForever))));
  for (std::uint32_t vcpu = 0; vcpu < kVcpus; ++vcpu) {
    const std::uint64_t tss = kTss + vcpu * kTssBytes;
    STASIS_TRY(memory.write_object(Gpa{tss + 4}, kRing0Stacks + (vcpu + 1) * kStackBytes));
    STASIS_TRY(memory.write_object(Gpa{tss + 100}, kIoBitmapOffset << 16U));
    // All ports allowed: zeros, which fresh RAM holds; the byte after the bitmap is all ones.
    STASIS_TRY(memory.write_object(Gpa{tss + kIoBitmapOffset + 8192}, std::uint8_t{0xff}));
  }
  return {};
}

Result<void> write_code(GuestMemory& memory, std::uint32_t vcpu, std::span<const std::byte> code) {
  STASIS_CHECK(code.size() <= kCodeBytesMax);
  return memory.write(code_address(vcpu), code);
}

X86VcpuState start_state(std::uint32_t vcpu, Gpa entry, const Capabilities& capabilities) {
  X86VcpuState state;
  state.general.rip = entry.value;
  state.general.rsp = kRing3Stacks + (vcpu + 1) * kStackBytes - 16;
  X86SystemRegisters& system = state.system;
  system.cs = flat_segment(kRing3Code, 0xb, 1);
  system.ds = system.es = system.fs = system.gs = system.ss = flat_segment(kRing3Data, 0x3, 0);
  system.tr = {kTss + vcpu * kTssBytes, kIoBitmapOffset + 8192, kTaskSelector, 0xbU | 1U << 7U};
  system.ldt = {0, 0, 0, 0x2U | 1U << 16U};
  system.gdt = {kGdt, 7 * 8 - 1};
  system.idt = {kIdt, 32 * 16 - 1};
  system.cr0 = 0x80050033;  // Paging, write protection, numeric errors, protected mode.
  system.cr3 = kPml4;
  system.cr4 = 0x620;   // PAE, OSFXSR, OSXMMEXCPT.
  system.efer = 0xd00;  // Long mode enabled and active, no-execute.
  system.apic_base = 0xfee00900 & ~(vcpu == 0 ? 0ULL : 0x100ULL);
  const auto& features = capabilities.cpu_features;
  const bool has_avx = std::binary_search(features.begin(), features.end(), std::string("avx"));
  const bool has_avx512 =
      std::binary_search(features.begin(), features.end(), std::string("avx512f"));
  // Under the PVM module ring 3 has the host's XCR0 unless CR4.OSXSAVE asks for another.
  if (has_avx && capabilities.clock_policy == ClockPolicy::kGuestContinues) {
    system.cr4 |= 1U << 18U;
    state.xcrs = {{0, has_avx512 ? 0xe7U : 0x7U}};
  }
  return state;
}

}  // namespace stasis::x86_ring3
