// The process's page tables, in guest RAM, written by the host.
//
// Making an entry present needs no help from the guest: no processor and no shadow of KVM's keeps a
// translation for an entry that is not. Any other change may be hidden by what they keep; such
// entries are collected as `rewrites`, and the guest's own ring 0 writes each of them again, with
// the value it has, before ring 3 runs on (system_tables.h; docs/decisions/0011).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "guests/linux/vm/frame_allocator.h"
#include "guests/linux/vm/guest_ram.h"

namespace stasis::linux_guest::vm {

// Intel SDM vol. 3A, 4.5.4.
namespace pte {
inline constexpr std::uint64_t kPresent = 1, kWritable = 2, kUser = 4, kAccessed = 32, kDirty = 64;
inline constexpr std::uint64_t kHuge = 128;
// Ours, while not present: the frame is the process's, but no access is allowed (PROT_NONE).
inline constexpr std::uint64_t kHeld = 1U << 9U;
inline constexpr std::uint64_t kNoExecute = std::uint64_t{1} << 63U;
inline constexpr std::uint64_t kAddress = 0x000f'ffff'ffff'f000;
}  // namespace pte

// Consecutive entries of one table.
struct EntryRun {
  Gpa first;
  std::uint64_t count = 0;
};

// Thread-compatible; only while no vCPU is in the guest. Entries read from RAM are not trusted: a
// table outside of the pool is none.
class PageTables {
 public:
  // `pool_used` tables of the pool at layout::kTables have been given out.
  PageTables(GuestRam& ram, std::uint64_t pool_bytes, std::uint64_t pool_used)
      : ram_(ram), pool_bytes_(pool_bytes), pool_used_(pool_used) {}

  // The leaf entry for a page: its place, its value (0: nothing) and whether it maps 2 MiB.
  struct Leaf {
    Gpa place;
    std::uint64_t value = 0;
    bool is_huge = false;
  };
  // Nothing where a table is missing.
  [[nodiscard]] std::optional<Leaf> find(std::uint64_t address) const;
  // The end of the hole that find(address) saw: no page is there before it.
  [[nodiscard]] std::uint64_t hole_end(std::uint64_t address) const;

  // Maps `pages` pages from `address` on, which have no entry yet, to frames from `frame` on.
  // Returns how many before the pool was used up.
  std::uint64_t map(std::uint64_t address, Gpa frame, std::uint64_t pages, std::uint64_t flags);
  // False if something of the 2 MiB at `address` was mapped before: there is a table for it.
  bool map_huge(std::uint64_t address, Gpa frame, std::uint64_t flags);
  // Replaces a leaf's value, 0 to clear it. A permission that is only added needs no rewrite: the
  // access that was refused makes processor and KVM look at the entry again.
  void replace(const Leaf& leaf, std::uint64_t value);
  // Turns a 2 MiB leaf into 512 small ones; false when the pool is used up.
  bool split(const Leaf& leaf, std::uint64_t address);

  [[nodiscard]] std::vector<EntryRun>& rewrites() { return rewrites_; }
  [[nodiscard]] const std::vector<EntryRun>& rewrites() const { return rewrites_; }
  [[nodiscard]] std::uint64_t pool_used() const { return pool_used_; }

 private:
  // The table of `level` (1: of 4 KiB pages) that holds the entry for `address`.
  [[nodiscard]] std::optional<Gpa> table(std::uint64_t address, unsigned level) const;
  std::optional<Gpa> make_table(std::uint64_t address, unsigned level);
  std::optional<Gpa> take_table();
  [[nodiscard]] bool is_table(std::uint64_t entry) const;
  void note_rewrite(Gpa place);

  GuestRam& ram_;
  std::uint64_t pool_bytes_;
  std::uint64_t pool_used_;
  std::vector<EntryRun> rewrites_;
};

}  // namespace stasis::linux_guest::vm
