#include "kvm/guest_tables.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

namespace stasis::kvm {
namespace {

// SDM vol. 3A, 4.5: 4-level paging.
constexpr std::uint64_t kPageBytes = 4096;
constexpr std::uint64_t kEntries = 512;
constexpr std::uint64_t kPresent = 1;
constexpr std::uint64_t kLarge = 1U << 7U;
constexpr std::uint64_t kAddressMask = 0x000ffffffffff000;
constexpr unsigned kTopLevel = 4;
constexpr std::size_t kTablesMax = 2048;  // About 2 us each, cold.

constexpr std::uint64_t kCr0Paging = std::uint64_t{1} << 31U;
constexpr std::uint64_t kCr4Pae = 1U << 5U;
constexpr std::uint64_t kCr4FiveLevels = 1U << 12U;
constexpr std::uint64_t kEferLongModeActive = 1U << 10U;

class Walker {
 public:
  Walker(const MemorySlots& slots, Gpa limit) : slots_(slots), limit_(limit) {}

  [[nodiscard]] bool page_is_below(std::uint64_t gpa) const {
    return fits(align_down(gpa, kPageBytes), kPageBytes, limit_.value);
  }

  // Every table under (and with) the one at `table`. Leaf tables (level 1) are not read: only their
  // own place matters.
  bool tables_are_below(std::uint64_t table, unsigned level) {
    if (!page_is_below(table) || ++visited_ > kTablesMax) {
      return false;
    }
    if (level == 1) {
      return true;
    }
    const auto bytes = slots_.host_bytes(Gpa{table}, kPageBytes);
    if (bytes.empty()) {
      return false;
    }
    for (std::uint64_t i = 0; i < kEntries; ++i) {
      const std::uint64_t entry = read(bytes, i);
      const bool points_to_table =
          (entry & kPresent) != 0 && (level == kTopLevel || (entry & kLarge) == 0);
      if (points_to_table && !tables_are_below(entry & kAddressMask, level - 1)) {
        return false;
      }
    }
    return true;
  }

  // Nothing when `linear` is not mapped.
  [[nodiscard]] std::optional<std::uint64_t> translate(std::uint64_t cr3,
                                                       std::uint64_t linear) const {
    std::uint64_t table = cr3 & kAddressMask;
    for (unsigned level = kTopLevel; level > 0; --level) {
      const auto bytes = slots_.host_bytes(Gpa{table}, kPageBytes);
      if (bytes.empty()) {
        return std::nullopt;
      }
      const unsigned shift = 12 + 9 * (level - 1);
      const std::uint64_t entry = read(bytes, (linear >> shift) % kEntries);
      if ((entry & kPresent) == 0) {
        return std::nullopt;
      }
      if (level == 1 || (level < kTopLevel && (entry & kLarge) != 0)) {
        const std::uint64_t offset_mask = (std::uint64_t{1} << shift) - 1;
        return (entry & kAddressMask & ~offset_mask) | (linear & offset_mask);
      }
      table = entry & kAddressMask;
    }
    return std::nullopt;
  }

  // What is not mapped cannot be fetched, registered or not.
  [[nodiscard]] bool linear_is_below(std::uint64_t cr3, std::uint64_t base,
                                     std::uint64_t bytes) const {
    const std::uint64_t first = align_down(base, kPageBytes);
    for (std::uint64_t offset = 0; offset < base - first + bytes; offset += kPageBytes) {
      const auto gpa = translate(cr3, first + offset);
      if (gpa && !page_is_below(*gpa)) {
        return false;
      }
    }
    return true;
  }

  static std::uint64_t read(std::span<const std::byte> bytes, std::uint64_t index) {
    std::uint64_t entry = 0;
    std::memcpy(&entry, bytes.data() + index * sizeof(entry), sizeof(entry));
    return entry;
  }

 private:
  const MemorySlots& slots_;
  Gpa limit_;
  std::size_t visited_ = 0;
};

// RSP0..2 and IST1..7 of a 64-bit TSS (SDM vol. 3A, 8.7) as far as they are set.
bool stacks_are_below(const Walker& walker, const MemorySlots& slots, std::uint64_t cr3,
                      std::uint64_t tss) {
  constexpr std::array<std::uint64_t, 10> kStackOffsets = {4, 12, 20, 36, 44, 52, 60, 68, 76, 84};
  return std::all_of(kStackOffsets.begin(), kStackOffsets.end(), [&](std::uint64_t offset) {
    std::uint64_t stack = 0;
    for (std::uint64_t byte = 0; byte < sizeof(stack); ++byte) {  // It may cross a page.
      const auto gpa = walker.translate(cr3, tss + offset + byte);
      const auto host = gpa ? slots.host_bytes(Gpa{*gpa}, 1) : std::span<std::byte>{};
      if (host.empty()) {
        return true;
      }
      stack |= std::uint64_t{std::to_integer<std::uint8_t>(host[0])} << (8 * byte);
    }
    return stack == 0 || walker.linear_is_below(cr3, stack - kPageBytes, kPageBytes);
  });
}

}  // namespace

bool tables_are_below(const MemorySlots& slots, const X86SystemRegisters& system, Gpa limit) {
  const bool ring_3 = (system.cs.selector & 3U) == 3;
  const bool four_levels = (system.cr0 & kCr0Paging) != 0 && (system.cr4 & kCr4Pae) != 0 &&
                           (system.cr4 & kCr4FiveLevels) == 0 &&
                           (system.efer & kEferLongModeActive) != 0;
  if (!ring_3 || !four_levels) {
    return false;
  }
  Walker walker(slots, limit);
  const std::uint64_t cr3 = system.cr3 & kAddressMask;
  return walker.tables_are_below(cr3, kTopLevel) &&
         walker.linear_is_below(cr3, system.gdt.base, std::uint64_t{system.gdt.limit} + 1) &&
         walker.linear_is_below(cr3, system.idt.base, std::uint64_t{system.idt.limit} + 1) &&
         walker.linear_is_below(cr3, system.tr.base,
                                std::min<std::uint64_t>(system.tr.limit, 0xffff) + 1) &&
         stacks_are_below(walker, slots, cr3, system.tr.base);
}

}  // namespace stasis::kvm
