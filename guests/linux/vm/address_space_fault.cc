// GuestAddressSpace: pages at their first touch, by the process or by its kernel.
#include <algorithm>
#include <cstring>

#include "guests/linux/vm/guest_address_space.h"
#include "guests/linux/vm/layout.h"

namespace stasis::linux_guest::vm {
namespace {

// stack_guard_gap of mm/mmap.c: a stack does not grow closer than this to another mapping.
constexpr std::uint64_t kStackGuardBytes = 256 * kPageBytes;

bool allows(Protection protection, Access access) {
  switch (access) {
    case Access::kRead:
      return protection != Protection::kNone;
    case Access::kWrite:
      return has(protection, Protection::kWrite);
    case Access::kExecute:
      return has(protection, Protection::kExecute);
  }
  return false;
}

}  // namespace

bool GuestAddressSpace::grow_stack(std::uint64_t address) {
  const Vma* stack = vmas_.find_from(address);
  const std::uint64_t begin = align_down(address, kPageBytes);
  if (stack == nullptr || !stack->grows_down || begin < plan_.stack_lowest ||
      begin < kStackGuardBytes || !vmas_.is_free(begin - kStackGuardBytes, stack->begin)) {
    return false;
  }
  Vma more = *stack;
  more.begin = begin;
  more.end = stack->begin;
  vmas_.insert(std::move(more));
  return true;
}

bool GuestAddressSpace::populate_huge(const Vma& vma, std::uint64_t page) {
  const std::uint64_t begin = align_down(page, layout::kHugePageBytes);
  if (vma.file != nullptr || vma.grows_down || vma.size() < 2 * layout::kHugePageBytes ||
      begin < vma.begin || begin + layout::kHugePageBytes > vma.end || tables_.find(page)) {
    return false;
  }
  const auto frame = frames_.allocate_huge();
  if (!frame) {
    return false;
  }
  const std::uint64_t flags = pte::kPresent | pte::kUser | pte::kAccessed | pte::kDirty |
                              (has(vma.protection, Protection::kWrite) ? pte::kWritable : 0) |
                              (has(vma.protection, Protection::kExecute) ? 0 : pte::kNoExecute);
  if (!tables_.map_huge(begin, *frame, flags)) {
    frames_.release({*frame, layout::kHugePageBytes});
    return false;
  }
  return true;
}

Resolution GuestAddressSpace::populate_around(const Vma& vma, std::uint64_t page) {
  if (populate_huge(vma, page)) {
    return Resolution::kResolved;
  }
  window_pages_ = page == next_fault_ ? std::min(window_pages_ * 2, kFaultPagesMax) : kFaultPages;
  const std::uint64_t window = window_pages_ * kPageBytes;
  const std::uint64_t begin = std::max(align_down(page, window), vma.begin);
  std::uint64_t end = std::min(align_down(page, window) + window, vma.end);
  if (vma.file != nullptr) {
    const std::uint64_t file_bytes = align_up(vma.file->size_bytes(), kPageBytes);
    const std::uint64_t shown = file_bytes > vma.file_offset ? file_bytes - vma.file_offset : 0;
    if (page - vma.begin >= shown) {
      return Resolution::kBeyondFile;
    }
    end = std::min(end, vma.begin + std::min(shown, vma.size()));
  }
  next_fault_ = end;
  const Resolution whole = populate(vma, begin, end);
  // When memory or tables run out, or another page of the file cannot be read, this one may do.
  return whole == Resolution::kResolved ? whole : populate(vma, page, page + kPageBytes);
}

Resolution GuestAddressSpace::resolve(UserAddress address, Access access) {
  if (address.value >= kUserSpaceEnd) {
    return Resolution::kNotMapped;
  }
  const std::uint64_t page = align_down(address.value, kPageBytes);
  const Vma* vma = vmas_.find(page);
  if (vma == nullptr) {
    if (!grow_stack(page)) {
      return Resolution::kNotMapped;
    }
    vma = vmas_.find(page);
  }
  if (!allows(vma->protection, access)) {
    return Resolution::kDenied;
  }
  const auto leaf = tables_.find(page);
  if (!leaf || leaf->value == 0) {
    return populate_around(*vma, page);
  }
  // Present already: a translation that was refused is out of date, or the entry is damaged.
  // Written again, it is looked at again.
  protect_pages(page, page + 1, vma->protection);
  tables_.rewrites().push_back({leaf->place, 1});
  return Resolution::kResolved;
}

template <typename Copy>
std::size_t GuestAddressSpace::copy_user(UserAddress address, std::size_t size, Access access,
                                         Copy copy) {
  std::size_t done = 0;
  while (done < size) {
    if (!fits(address.value, done, kUserSpaceEnd - 1)) {
      return done;
    }
    const std::uint64_t at = address.value + done;
    const std::uint64_t in_page = at % kPageBytes;
    const Vma* vma = vmas_.find(at);
    auto leaf = tables_.find(at);
    if (vma == nullptr || !allows(vma->protection, access) || !leaf || leaf->value == 0) {
      if (resolve({at}, access) != Resolution::kResolved) {
        return done;
      }
      leaf = tables_.find(at);
    }
    const std::uint64_t leaf_size = leaf && leaf->is_huge ? layout::kHugePageBytes : kPageBytes;
    const std::uint64_t frame = leaf ? (leaf->value & pte::kAddress & ~(leaf_size - 1)) : 0;
    const std::size_t piece = std::min<std::size_t>(size - done, kPageBytes - in_page);
    if (frame < layout::tables_end(memory_bytes_) ||
        !copy(Gpa{frame + at % leaf_size}, done, piece)) {
      return done;
    }
    done += piece;
  }
  return done;
}

std::size_t GuestAddressSpace::read(UserAddress from, std::span<std::byte> out) {
  return copy_user(from, out.size(), Access::kRead,
                   [&](Gpa gpa, std::size_t done, std::size_t piece) {
                     const auto bytes = ram_.view(gpa, piece);
                     std::memcpy(out.data() + done, bytes.data(), bytes.size());
                     return bytes.size() == piece;
                   });
}

std::size_t GuestAddressSpace::write(UserAddress to, std::span<const std::byte> bytes) {
  return copy_user(to, bytes.size(), Access::kWrite,
                   [&](Gpa gpa, std::size_t done, std::size_t piece) {
                     const auto out = ram_.to_write(gpa, piece);
                     std::memcpy(out.data(), bytes.data() + done, out.size());
                     return out.size() == piece;
                   });
}

}  // namespace stasis::linux_guest::vm
