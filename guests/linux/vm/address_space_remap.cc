// GuestAddressSpace: mremap(2).
#include <algorithm>
#include <cerrno>
#include <utility>

#include "guests/linux/vm/guest_address_space.h"
#include "guests/linux/vm/layout.h"

namespace stasis::linux_guest::vm {
namespace {

constexpr std::uint64_t kMayMove = 1, kFixed = 2, kDontUnmap = 4;

bool overlap(std::uint64_t a, std::uint64_t a_size, std::uint64_t b, std::uint64_t b_size) {
  return a < b + b_size && b < a + a_size;
}

struct RemapRequest {
  std::uint64_t begin = 0, old_size = 0, new_size = 0, flags = 0, to = 0;
};

// mremap(2), EINVAL: flags that exclude each other, sizes and addresses that cannot be.
bool is_possible(const RemapRequest& request) {
  const bool keeps = (request.flags & kDontUnmap) != 0;
  if ((request.flags & ~(kMayMove | kFixed | kDontUnmap)) != 0 ||
      ((request.flags & (kFixed | kDontUnmap)) != 0 && (request.flags & kMayMove) == 0) ||
      (keeps && request.old_size != request.new_size)) {
    return false;
  }
  return is_aligned(request.begin, kPageBytes) && request.new_size != 0 &&
         fits(0, request.old_size, kUserSpaceEnd) && fits(0, request.new_size, kUserSpaceEnd);
}

// The same of the new place, with sizes in whole pages.
bool is_possible_target(const RemapRequest& request) {
  return is_aligned(request.to, kPageBytes) && request.to >= kPageBytes &&
         fits(request.to, request.new_size, kUserSpaceEnd) &&
         !overlap(request.begin, request.old_size, request.to, request.new_size);
}

}  // namespace

SysResult GuestAddressSpace::move(std::uint64_t from, std::uint64_t old_size, std::uint64_t to,
                                  std::uint64_t new_size, std::uint64_t flags) {
  // Pages keep their place within 2 MiB or are small.
  if (!split_edges(from, from + old_size) || !split_edges(to, to + new_size)) {
    return -ENOMEM;
  }
  drop(to, to + new_size);
  std::vector<Vma> pieces = vmas_.remove(from, from + old_size);
  STASIS_CHECK(pieces.size() == 1);
  Vma moved = pieces.front();
  if ((flags & kDontUnmap) != 0) {
    vmas_.insert(pieces.front());  // Stays, without its pages.
  }
  moved.begin = to;
  moved.end = to + new_size;
  if (!move_pages(from, to, std::min(old_size, new_size))) {
    // The pool of tables is used up. Nothing is lost: what could not move is still where it was.
    static_cast<void>(move_pages(to, from, std::min(old_size, new_size)));
    if ((flags & kDontUnmap) == 0) {
      vmas_.insert(std::move(pieces.front()));
    }
    return -ENOMEM;
  }
  vmas_.insert(std::move(moved));
  return static_cast<SysResult>(to);
}

SysResult GuestAddressSpace::grow_or_move(const Vma& vma, std::uint64_t begin,
                                          std::uint64_t old_size, std::uint64_t new_size,
                                          std::uint64_t flags) {
  const std::uint64_t grown = new_size - old_size;
  if (has(vma.protection, Protection::kWrite) && vma.file == nullptr && grown > frame_bytes_) {
    return -ENOMEM;
  }
  if (begin + old_size == vma.end && fits(begin, new_size, kUserSpaceEnd) &&
      vmas_.is_free(vma.end, begin + new_size)) {
    Vma more = vma;
    more.begin = vma.end;
    more.end = begin + new_size;
    more.file_offset = vma.file == nullptr ? 0 : vma.file_offset + vma.size();
    vmas_.insert(std::move(more));
    return static_cast<SysResult>(begin);
  }
  if ((flags & kMayMove) == 0) {
    return -ENOMEM;
  }
  const auto place = find_place(new_size);
  return place ? move(begin, old_size, *place, new_size, flags) : -ENOMEM;
}

SysResult GuestAddressSpace::remap(UserAddress old_begin, std::uint64_t old_size,
                                   std::uint64_t new_size, std::uint64_t flags,
                                   UserAddress new_begin) {
  const std::uint64_t begin = old_begin.value;
  const bool fixed = (flags & kFixed) != 0;
  RemapRequest request{begin, old_size, new_size, flags, new_begin.value};
  if (!is_possible(request)) {
    return -EINVAL;
  }
  request.old_size = old_size = align_up(old_size, kPageBytes);
  request.new_size = new_size = align_up(new_size, kPageBytes);
  if (fixed && !is_possible_target(request)) {
    return -EINVAL;
  }
  const Vma* found = vmas_.find(begin);
  if (found == nullptr) {
    return -EFAULT;
  }
  if (found->name == kTimePageName) {
    return -EINVAL;  // Whoever finds a moved one after a restore would read another host's time.
  }
  if (old_size == 0) {
    return -EINVAL;  // It would duplicate a shared mapping.
  }
  if (old_size > found->end - begin) {
    return -EFAULT;
  }
  const Vma vma = *found;
  if (new_size < old_size) {
    if (!split_edges(begin + new_size, begin + old_size)) {
      return -ENOMEM;
    }
    drop(begin + new_size, begin + old_size);
    old_size = new_size;
  }
  if (fixed) {
    return move(begin, old_size, request.to, new_size, flags);
  }
  if ((flags & kDontUnmap) != 0) {
    const auto place = find_place(new_size);
    return place ? move(begin, old_size, *place, new_size, flags) : -ENOMEM;
  }
  return new_size > old_size ? grow_or_move(vma, begin, old_size, new_size, flags)
                             : static_cast<SysResult>(begin);
}

}  // namespace stasis::linux_guest::vm
