#include "guests/linux/vm/page_tables.h"

#include <algorithm>

#include "core/check.h"
#include "guests/linux/address_space.h"
#include "guests/linux/vm/layout.h"

namespace stasis::linux_guest::vm {
namespace {

constexpr std::uint64_t kEntries = 512;
constexpr unsigned kLevels = 4;

constexpr std::uint64_t span_bytes(unsigned level) {  // Of one entry.
  return std::uint64_t{1} << (12 + 9 * (level - 1));
}
constexpr Gpa entry_at(Gpa table, std::uint64_t address, unsigned level) {
  return table + ((address / span_bytes(level)) % kEntries) * 8;
}
constexpr bool has_frame(std::uint64_t entry) {
  return (entry & (pte::kPresent | pte::kHeld)) != 0;
}
// Could a translation made from `before` allow what `after` does not?
constexpr bool takes_away(std::uint64_t before, std::uint64_t after) {
  return (after & pte::kPresent) == 0 || (before & pte::kAddress) != (after & pte::kAddress) ||
         (before & ~after & pte::kWritable) != 0 || (after & ~before & pte::kNoExecute) != 0;
}
// Permissions are the leaves'.
constexpr std::uint64_t kTableFlags = pte::kPresent | pte::kWritable | pte::kUser | pte::kAccessed;

}  // namespace

bool PageTables::is_table(std::uint64_t entry) const {
  const std::uint64_t gpa = entry & pte::kAddress;
  return (entry & pte::kPresent) != 0 && (entry & pte::kHuge) == 0 && gpa >= layout::kTables &&
         fits(gpa - layout::kTables, kPageBytes, pool_used_ * kPageBytes);
}

std::optional<Gpa> PageTables::table(std::uint64_t address, unsigned level) const {
  Gpa at{layout::kRootTable};
  for (unsigned l = kLevels; l > level; --l) {
    const std::uint64_t entry = ram_.load(entry_at(at, address, l));
    if (!is_table(entry)) {
      return std::nullopt;
    }
    at = Gpa{entry & pte::kAddress};
  }
  return at;
}

std::optional<PageTables::Leaf> PageTables::find(std::uint64_t address) const {
  const std::optional<Gpa> directory = table(address, 2);
  if (!directory) {
    return std::nullopt;
  }
  const Gpa place = entry_at(*directory, address, 2);
  const std::uint64_t entry = ram_.load(place);
  if (has_frame(entry) && (entry & pte::kHuge) != 0) {
    return Leaf{place, entry, true};
  }
  if (!is_table(entry)) {
    return std::nullopt;
  }
  const Gpa leaf = entry_at(Gpa{entry & pte::kAddress}, address, 1);
  return Leaf{leaf, ram_.load(leaf), false};
}

std::uint64_t PageTables::hole_end(std::uint64_t address) const {
  for (unsigned level = kLevels; level > 1; --level) {
    const std::optional<Gpa> at = table(address, level);
    const std::uint64_t entry = at ? ram_.load(entry_at(*at, address, level)) : 0;
    if (!has_frame(entry)) {
      return align_down(address, span_bytes(level)) + span_bytes(level);
    }
  }
  return align_down(address, kPageBytes) + kPageBytes;
}

std::optional<Gpa> PageTables::take_table() {
  if (pool_used_ * kPageBytes >= pool_bytes_) {
    return std::nullopt;
  }
  return Gpa{layout::kTables + pool_used_++ * kPageBytes};
}

std::optional<Gpa> PageTables::make_table(std::uint64_t address, unsigned level) {
  Gpa at{layout::kRootTable};
  for (unsigned l = kLevels; l > level; --l) {
    const Gpa place = entry_at(at, address, l);
    std::uint64_t entry = ram_.load(place);
    if (!is_table(entry)) {
      const std::optional<Gpa> fresh = has_frame(entry) ? std::nullopt : take_table();
      if (!fresh) {
        return std::nullopt;
      }
      entry = fresh->value | kTableFlags;
      ram_.store(place, entry);
    }
    at = Gpa{entry & pte::kAddress};
  }
  return at;
}

std::uint64_t PageTables::map(std::uint64_t address, Gpa frame, std::uint64_t pages,
                              std::uint64_t flags) {
  std::optional<Gpa> leaves;
  for (std::uint64_t i = 0; i < pages; ++i) {
    const std::uint64_t at = address + i * kPageBytes;
    if (!leaves || at % span_bytes(2) == 0) {
      leaves = make_table(at, 1);
      if (!leaves) {
        return i;
      }
    }
    ram_.store(entry_at(*leaves, at, 1), (frame.value + i * kPageBytes) | flags);
  }
  return pages;
}

bool PageTables::map_huge(std::uint64_t address, Gpa frame, std::uint64_t flags) {
  const std::optional<Gpa> directory = make_table(address, 2);
  if (!directory || ram_.load(entry_at(*directory, address, 2)) != 0) {
    return false;
  }
  ram_.store(entry_at(*directory, address, 2), frame.value | flags | pte::kHuge);
  return true;
}

void PageTables::replace(const Leaf& leaf, std::uint64_t value) {
  if (value == leaf.value) {
    return;
  }
  ram_.store(leaf.place, value);
  if ((leaf.value & pte::kPresent) != 0 && takes_away(leaf.value, value)) {
    note_rewrite(leaf.place);
  }
}

bool PageTables::split(const Leaf& leaf, std::uint64_t address) {
  STASIS_CHECK(leaf.is_huge);
  const std::optional<Gpa> fresh = take_table();
  if (!fresh) {
    return false;
  }
  const std::uint64_t flags = leaf.value & ~(pte::kAddress | pte::kHuge);
  const std::uint64_t frame = leaf.value & pte::kAddress;
  for (std::uint64_t i = 0; i < kEntries; ++i) {
    ram_.store(*fresh + i * 8, (frame + i * kPageBytes) | flags);
  }
  const std::optional<Gpa> directory = table(address, 2);
  STASIS_CHECK(directory && entry_at(*directory, address, 2) == leaf.place);
  ram_.store(leaf.place, fresh->value | kTableFlags);
  if ((leaf.value & pte::kPresent) != 0) {
    note_rewrite(leaf.place);
  }
  return true;
}

void PageTables::note_rewrite(Gpa place) {
  if (!rewrites_.empty()) {
    EntryRun& last = rewrites_.back();
    const Gpa end = last.first + last.count * 8;
    if (end == place && place.value % kPageBytes != 0) {
      ++last.count;
      return;
    }
  }
  rewrites_.push_back({place, 1});
}

}  // namespace stasis::linux_guest::vm
