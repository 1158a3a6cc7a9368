// GuestAddressSpace: frames behind pages.
#include <algorithm>
#include <cstring>

#include "core/check.h"
#include "guests/linux/vm/guest_address_space.h"
#include "guests/linux/vm/layout.h"

namespace stasis::linux_guest::vm {
namespace {

// x86 has no page that can be written or executed but not read.
std::uint64_t entry_flags(Protection protection) {
  if (protection == Protection::kNone) {
    return pte::kHeld;
  }
  return pte::kPresent | pte::kUser | pte::kAccessed | pte::kDirty |
         (has(protection, Protection::kWrite) ? pte::kWritable : 0) |
         (has(protection, Protection::kExecute) ? 0 : pte::kNoExecute);
}

std::uint64_t page_of_file(const Vma& vma, std::uint64_t address) {
  return (vma.file_offset + (address - vma.begin)) / kPageBytes;
}

constexpr std::uint64_t leaf_bytes(const PageTables::Leaf& leaf) {
  return leaf.is_huge ? layout::kHugePageBytes : kPageBytes;
}

}  // namespace

template <typename Visit>
void GuestAddressSpace::for_each_leaf(std::uint64_t begin, std::uint64_t end, Visit visit) {
  std::uint64_t at = begin;
  while (at < end) {
    const auto leaf = tables_.find(at);
    if (!leaf) {
      at = tables_.hole_end(at);
      continue;
    }
    const std::uint64_t size = leaf_bytes(*leaf);
    if (leaf->value != 0) {
      visit(align_down(at, size), *leaf);
    }
    at = align_down(at, size) + size;
  }
}

void GuestAddressSpace::write_time_page(stasis_time_page page) {
  const Vma* const vma = vmas_.find(time_page_address());
  const auto leaf = tables_.find(time_page_address());
  if (vma == nullptr || vma->name != kTimePageName || vma->file != nullptr || !leaf ||
      leaf->is_huge || (leaf->value & pte::kAddress) < layout::tables_end(memory_bytes_)) {
    return;
  }
  const Gpa frame{leaf->value & pte::kAddress};
  std::uint32_t sequence = 0;
  const auto old = ram_.view(frame, sizeof(sequence));
  std::memcpy(&sequence, old.data(), old.size());
  page.sequence = sequence + 1;
  const auto out = ram_.to_write(frame, sizeof(page));
  std::memcpy(out.data(), &page, out.size());
}

bool GuestAddressSpace::split_edges(std::uint64_t begin, std::uint64_t end) {
  for (const std::uint64_t edge : {begin, end}) {
    if (is_aligned(edge, layout::kHugePageBytes)) {
      continue;
    }
    const auto leaf = tables_.find(edge);
    if (leaf && leaf->is_huge && !tables_.split(*leaf, edge)) {
      return false;
    }
  }
  return true;
}

void GuestAddressSpace::release_pages(const Vma& vma, std::uint64_t begin, std::uint64_t end) {
  SharedFile* const shared = vma.shows_shared_pages() ? &shared_file(vma) : nullptr;
  for_each_leaf(begin, end, [&](std::uint64_t address, const PageTables::Leaf& leaf) {
    const GpaRange frames{Gpa{leaf.value & pte::kAddress}, leaf_bytes(leaf)};
    tables_.replace(leaf, 0);
    if (shared != nullptr && !shared->remove(page_of_file(vma, address), frames.begin)) {
      return;  // It is shown elsewhere.
    }
    if (frames.begin.value >= layout::tables_end(memory_bytes_) &&
        !ram_.view(frames.begin, frames.size).empty()) {
      ram_.zero(frames);
      frames_.release(frames);
    }
  });
  if (shared != nullptr && shared->is_empty()) {
    shared_.erase(vma.file.get());
  }
}

void GuestAddressSpace::protect_pages(std::uint64_t begin, std::uint64_t end,
                                      Protection protection) {
  const std::uint64_t flags = entry_flags(protection);
  for_each_leaf(begin, end, [this, flags](std::uint64_t, const PageTables::Leaf& leaf) {
    const std::uint64_t kept = leaf.value & (pte::kAddress | pte::kHuge);
    tables_.replace(leaf, kept | flags);
  });
}

bool GuestAddressSpace::move_pages(std::uint64_t from, std::uint64_t to, std::uint64_t size) {
  bool moved = true;
  for_each_leaf(from, from + size, [&](std::uint64_t address, const PageTables::Leaf& leaf) {
    const Gpa frame{leaf.value & pte::kAddress};
    const std::uint64_t flags = leaf.value & ~(pte::kAddress | pte::kHuge);
    const std::uint64_t target = to + (address - from);
    if (leaf.is_huge && is_aligned(target, layout::kHugePageBytes) &&
        tables_.map_huge(target, frame, flags)) {
      tables_.replace(leaf, 0);
      return;
    }
    const std::uint64_t pages = leaf_bytes(leaf) / kPageBytes;
    moved = moved && tables_.map(target, frame, pages, flags) == pages;
    if (moved) {
      tables_.replace(leaf, 0);
    }
  });
  return moved;
}

bool GuestAddressSpace::fill_from_file(const Vma& vma, std::uint64_t address, GpaRange frames) {
  std::uint64_t offset = vma.file_offset + (address - vma.begin);
  std::span<std::byte> out = ram_.to_write(frames.begin, frames.size);
  while (!out.empty()) {
    const SysResult got = vma.file->read_at(offset, out);
    if (got < 0 || static_cast<std::uint64_t>(got) > out.size()) {
      return false;
    }
    if (got == 0) {
      return true;  // The end of the file; the rest is zero.
    }
    offset += static_cast<std::uint64_t>(got);
    out = out.subspan(static_cast<std::size_t>(got));
  }
  return true;
}

SharedFile& GuestAddressSpace::shared_file(const Vma& vma) {
  std::unique_ptr<SharedFile>& file = shared_[vma.file.get()];
  if (file == nullptr) {
    file = std::make_unique<SharedFile>(vma.file, ram_);
  }
  return *file;
}

// After a load: which pages there are is in the tables.
void GuestAddressSpace::count_shared_pages() {
  for (const Vma& vma : vmas_.all()) {
    if (vma.shows_shared_pages()) {
      for_each_leaf(vma.begin, vma.end, [&](std::uint64_t address, const PageTables::Leaf& leaf) {
        shared_file(vma).add(page_of_file(vma, address), Gpa{leaf.value & pte::kAddress});
      });
    }
  }
}

void GuestAddressSpace::attach(GuestMemory& memory) {
  ram_.attach(memory);
  count_shared_pages();
}

Resolution GuestAddressSpace::populate_shared(const Vma& vma, std::uint64_t begin,
                                              std::uint64_t end) {
  SharedFile& file = shared_file(vma);
  for (std::uint64_t at = begin; at < end; at += kPageBytes) {
    const auto leaf = tables_.find(at);
    if (leaf && leaf->value != 0) {
      continue;
    }
    const std::uint64_t index = page_of_file(vma, at);
    std::optional<Gpa> frame = file.find(index);
    const bool is_new = !frame;
    if (is_new) {
      const auto got = frames_.allocate(1);
      if (!got) {
        return Resolution::kOutOfMemory;
      }
      frame = got->begin;
      if (!vma.file->reserve_page(index) || !fill_from_file(vma, at, *got)) {
        ram_.zero(*got);
        frames_.release(*got);
        return Resolution::kBeyondFile;
      }
    }
    if (tables_.map(at, *frame, 1, entry_flags(vma.protection)) != 1) {
      if (is_new) {
        ram_.zero({*frame, kPageBytes});
        frames_.release({*frame, kPageBytes});
      }
      return Resolution::kOutOfMemory;
    }
    file.add(index, *frame);
  }
  return Resolution::kResolved;
}

Resolution GuestAddressSpace::populate(const Vma& vma, std::uint64_t begin, std::uint64_t end) {
  if (vma.shows_shared_pages()) {
    return populate_shared(vma, begin, end);
  }
  const std::uint64_t flags = entry_flags(vma.protection);
  std::uint64_t at = begin;
  while (at < end) {
    std::uint64_t pages = 0;
    for (std::uint64_t next = at; next < end; next += kPageBytes) {
      const auto leaf = tables_.find(next);
      if (leaf && leaf->value != 0) {
        break;
      }
      ++pages;
    }
    if (pages == 0) {
      at += kPageBytes;
      continue;
    }
    const auto frames = frames_.allocate(pages);
    if (!frames) {
      return Resolution::kOutOfMemory;
    }
    if (vma.file != nullptr && !fill_from_file(vma, at, *frames)) {
      ram_.zero(*frames);
      frames_.release(*frames);
      return Resolution::kBeyondFile;
    }
    const std::uint64_t count = frames->size / kPageBytes;
    const std::uint64_t mapped = tables_.map(at, frames->begin, count, flags);
    if (mapped < count) {
      const GpaRange rest{frames->begin + mapped * kPageBytes, (count - mapped) * kPageBytes};
      ram_.zero(rest);
      frames_.release(rest);
      return Resolution::kOutOfMemory;
    }
    at += frames->size;
  }
  return Resolution::kResolved;
}

}  // namespace stasis::linux_guest::vm
