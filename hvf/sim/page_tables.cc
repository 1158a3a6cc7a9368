#include "hvf/sim/page_tables.h"

#include <atomic>

namespace stasis::hvf::sim {
namespace {

// "VMSAv8-64 translation table format descriptors", stage 2: a table, or a page.
constexpr std::uint64_t kEntryBytes = 4096;
constexpr std::uint64_t kValid = 3;
constexpr std::uint64_t kAddress = 0x0000fffffffff000;
constexpr std::uint64_t kPage = 1U << 10U      // Access flag.
                                | 3U << 8U     // Inner shareable.
                                | 0xfU << 2U;  // Normal memory, write-back.
constexpr std::uint64_t kReadable = 1U << 6U;
constexpr std::uint64_t kWritable = 1U << 7U;
constexpr std::uint64_t kExecuteNever = std::uint64_t{1} << 54U;  // At EL1 and EL0.

std::uint64_t page_entry(std::uint64_t machine, hv_memory_flags_t flags) {
  return machine | kPage | kValid | ((flags & HV_MEMORY_READ) != 0 ? kReadable : 0) |
         ((flags & HV_MEMORY_WRITE) != 0 ? kWritable : 0) |
         ((flags & HV_MEMORY_EXEC) != 0 ? 0 : kExecuteNever);
}

// A table walk of another process may read it at any time.
void store(std::uint64_t* entry, std::uint64_t value) {
  std::atomic_ref(*entry).store(value, std::memory_order_release);
}

}  // namespace

std::uint64_t* PageTables::entry_at(std::uint64_t table, std::uint64_t index) const {
  return reinterpret_cast<std::uint64_t*>(memory_.control(table)) + index;
}

std::uint64_t* PageTables::find_entry(hv_ipa_t ipa) const {
  const std::uint64_t level1 = *entry_at(kStage2Root, ipa >> 30U);
  if (level1 == 0) {
    return nullptr;
  }
  const std::uint64_t level2 = *entry_at(level1 & kAddress, (ipa >> 21U) & 511U);
  return level2 == 0 ? nullptr : entry_at(level2 & kAddress, (ipa >> 12U) & 511U);
}

Result<std::uint64_t*> PageTables::make_entry(hv_ipa_t ipa) {
  std::uint64_t* entry = entry_at(kStage2Root, ipa >> 30U);
  for (const std::uint64_t shift : {21U, 12U}) {
    if (*entry == 0) {
      if (next_table_ >= kRamBase + kControlBytes) {
        return Error{Errc::kOutOfRange, 0, "no room for more of the simulated machine's tables"};
      }
      store(entry, next_table_ | kValid);  // The file is zero there: an empty table.
      next_table_ += kEntryBytes;
    }
    entry = entry_at(*entry & kAddress, (ipa >> shift) & 511U);
  }
  return entry;
}

Result<void> PageTables::map(hv_ipa_t ipa, std::uint64_t machine, std::uint64_t size,
                             hv_memory_flags_t flags) {
  for (std::uint64_t at = 0; at < size; at += kEntryBytes) {
    STASIS_ASSIGN(std::uint64_t* const entry, make_entry(ipa + at));
    store(entry, page_entry(machine + at, flags));
  }
  return {};
}

bool PageTables::protect(hv_ipa_t ipa, std::uint64_t size, hv_memory_flags_t flags) {
  bool takes_away = false;
  for (std::uint64_t at = 0; at < size; at += kEntryBytes) {
    std::uint64_t* const entry = find_entry(ipa + at);
    const std::uint64_t before = *entry, after = page_entry(before & kAddress, flags);
    const std::uint64_t lost = before & ~after & (kReadable | kWritable);
    takes_away = takes_away || lost != 0 || (after & ~before & kExecuteNever) != 0;
    store(entry, after);
  }
  return takes_away;
}

std::uint64_t PageTables::machine_address(hv_ipa_t ipa) const {
  return (*find_entry(ipa) & kAddress) | (ipa % kEntryBytes);
}

void PageTables::unmap(hv_ipa_t ipa, std::uint64_t size) {
  for (std::uint64_t at = 0; at < size; at += kEntryBytes) {
    if (std::uint64_t* const entry = find_entry(ipa + at); entry != nullptr) {
      store(entry, 0);
    }
  }
}

}  // namespace stasis::hvf::sim
