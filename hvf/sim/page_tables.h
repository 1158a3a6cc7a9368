// The machine's stage-2 translation tables, as the monitor's VTCR_EL2 has them: 4 KiB granule, 40
// bits of guest-physical address from level 1. A page of the framework is one or four entries.
#pragma once

#include <cstdint>

#include <Hypervisor/hv_types.h>

#include "core/result.h"
#include "hvf/sim/shared_memory.h"

namespace stasis::hvf::sim {

// Thread-compatible. Ranges are multiples of 4 KiB and within 40 bits; Stage2 has checked them. The
// processing elements may hold older translations until they are told to forget them.
class PageTables {
 public:
  explicit PageTables(SharedMemory& memory) : memory_(memory) {}

  // Of a range that is not mapped: a translation that is not there is never remembered. kOutOfRange
  // when there is no room for more tables; a part may be mapped then.
  Result<void> map(hv_ipa_t ipa, std::uint64_t machine, std::uint64_t size,
                   hv_memory_flags_t flags);
  // Of a mapped range. Whether a permission was taken away: what QEMU remembers matters only then,
  // because it looks again when that does not allow an access.
  bool protect(hv_ipa_t ipa, std::uint64_t size, hv_memory_flags_t flags);
  void unmap(hv_ipa_t ipa, std::uint64_t size);
  // Where in the machine a mapped address is.
  [[nodiscard]] std::uint64_t machine_address(hv_ipa_t ipa) const;

 private:
  // Of level 3, with the tables above it; nullptr where the range has none.
  [[nodiscard]] std::uint64_t* find_entry(hv_ipa_t ipa) const;
  Result<std::uint64_t*> make_entry(hv_ipa_t ipa);
  [[nodiscard]] std::uint64_t* entry_at(std::uint64_t table, std::uint64_t index) const;

  SharedMemory& memory_;
  std::uint64_t next_table_ = kStage2Root + 2 * std::uint64_t{4096};
};

}  // namespace stasis::hvf::sim
