// GuestAddressSpace: mmap, munmap, mprotect, madvise and brk. What is refused, and with which
// error, follows the manual pages of section 2.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "guests/linux/vm/guest_address_space.h"
#include "guests/linux/vm/layout.h"
#include "guests/linux/vm/system_tables.h"
#include "guests/memory_layout.h"

namespace stasis::linux_guest::vm {
namespace {

constexpr std::uint64_t kLowestMapping = 0x10000;  // vm.mmap_min_addr.
// What is certainly going to be used gets its pages at once, and spares the process the faults.
constexpr std::uint64_t kEagerBytes = 64 * kPageBytes;
constexpr std::uint64_t kAlignedBytesMin = 2 * layout::kHugePageBytes;

// madvise(2).
constexpr int kNormal = 0, kRandom = 1, kSequential = 2, kWillNeed = 3, kDontNeed = 4, kFree = 8;
constexpr int kDontFork = 10, kDoFork = 11, kHugePage = 14, kNoHugePage = 15, kDontDump = 16,
              kDoDump = 17, kWipeOnFork = 18, kKeepOnFork = 19, kCold = 20, kPageOut = 21,
              kPopulateRead = 22, kPopulateWrite = 23;

// Rounded up to pages; nothing when that leaves user space.
std::optional<std::uint64_t> page_rounded(std::uint64_t begin, std::uint64_t size) {
  if (!fits(begin, size, kUserSpaceEnd)) {
    return std::nullopt;
  }
  return align_up(size, kPageBytes);
}

GpaRanges frames_of(std::uint64_t memory_bytes) {
  const auto regions = guests::guest_memory_regions(memory_bytes);
  STASIS_CHECK(regions);
  GpaRanges ranges;
  for (const RegionSpec& region : *regions) {
    ranges.push_back(region.range);
  }
  return subtract(ranges, {{Gpa{0}, layout::tables_end(memory_bytes)}});
}

}  // namespace

std::unique_ptr<GuestAddressSpace> GuestAddressSpace::create(std::uint64_t memory_bytes) {
  return std::unique_ptr<GuestAddressSpace>(
      new GuestAddressSpace(memory_bytes, 0, FrameAllocator(frames_of(memory_bytes))));
}

GuestAddressSpace::GuestAddressSpace(std::uint64_t memory_bytes, std::uint64_t tables_used,
                                     FrameAllocator frames)
    : memory_bytes_(memory_bytes),
      frame_bytes_(stasis::total_bytes(frames_of(memory_bytes))),
      frames_(std::move(frames)),
      tables_(ram_, layout::table_bytes(memory_bytes), tables_used) {}

void GuestAddressSpace::write_system() {
  write_system_tables(ram_, memory_bytes_, tables_);
}

void GuestAddressSpace::set_plan(const AddressPlan& plan) {
  plan_ = plan;
  break_end_ = plan.break_begin;
}

std::uint64_t GuestAddressSpace::resident_bytes() const {
  return frame_bytes_ - std::min(frame_bytes_, frames_.free_bytes());
}

std::vector<Mapping> GuestAddressSpace::mappings() const {
  std::vector<Mapping> out;
  for (Vma& vma : vmas_.all()) {
    out.push_back({.begin = {vma.begin},
                   .size_bytes = vma.size(),
                   .protection = vma.protection,
                   .sharing = vma.sharing,
                   .file_offset = vma.file_offset,
                   .name = vma.file != nullptr ? vma.file->path() : std::move(vma.name),
                   .file = vma.file});
  }
  return out;
}

void GuestAddressSpace::drop(std::uint64_t begin, std::uint64_t end) {
  for (const Vma& vma : vmas_.remove(begin, end)) {
    release_pages(vma, vma.begin, vma.end);
  }
}

// Large mappings begin at a multiple of 2 MiB, so that huge pages fit into them.
std::optional<std::uint64_t> GuestAddressSpace::find_place(std::uint64_t size) const {
  if (size >= kAlignedBytesMin && size < kUserSpaceEnd) {
    const auto wide =
        vmas_.find_hole(size + layout::kHugePageBytes, kLowestMapping, plan_.mmap_top);
    if (wide) {
      return align_down(*wide + layout::kHugePageBytes, layout::kHugePageBytes);
    }
  }
  return vmas_.find_hole(size, kLowestMapping, plan_.mmap_top);
}

SysResult GuestAddressSpace::place(const MapRequest& request, std::uint64_t size) const {
  const std::uint64_t hint = request.hint.value;
  if (request.placement == MapRequest::Placement::kAnywhere) {
    const std::uint64_t wish = std::max(align_up(hint, kPageBytes), kLowestMapping);
    if (hint != 0 && hint < kUserSpaceEnd && fits(wish, size, kUserSpaceEnd) &&
        vmas_.is_free(wish, wish + size)) {
      return static_cast<SysResult>(wish);
    }
    const auto found = find_place(size);
    return found ? static_cast<SysResult>(*found) : -ENOMEM;
  }
  if (!is_aligned(hint, kPageBytes)) {
    return -EINVAL;
  }
  if (!fits(hint, size, kUserSpaceEnd)) {
    return -ENOMEM;
  }
  if (hint < kLowestMapping) {
    return -EPERM;
  }
  if (request.placement == MapRequest::Placement::kFixedNoReplace &&
      !vmas_.is_free(hint, hint + size)) {
    return -EEXIST;
  }
  return static_cast<SysResult>(hint);
}

SysResult GuestAddressSpace::map(const MapRequest& request) {
  if (request.size_bytes == 0 || !is_aligned(request.file_offset, kPageBytes)) {
    return -EINVAL;
  }
  const auto size = page_rounded(0, request.size_bytes);
  if (!size) {
    return -ENOMEM;
  }
  if (request.file != nullptr) {
    if (request.sharing == MapRequest::Sharing::kShared &&
        has(request.protection, Protection::kWrite) && !request.file->can_be_shared()) {
      return -ENODEV;
    }
    if (request.file_offset > UINT64_MAX - *size) {
      return -EOVERFLOW;
    }
  } else if (has(request.protection, Protection::kWrite) && *size > frame_bytes_) {
    return -ENOMEM;  // The heuristic of vm.overcommit_memory = 0: what can never be had.
  }
  if (vmas_.size() >= kMappingsMax) {
    return -ENOMEM;
  }
  const SysResult placed = place(request, *size);
  if (placed < 0) {
    return placed;
  }
  const auto begin = static_cast<std::uint64_t>(placed);
  if (!split_edges(begin, begin + *size)) {
    return -ENOMEM;
  }
  drop(begin, begin + *size);
  const Vma vma{.begin = begin,
                .end = begin + *size,
                .protection = request.protection,
                .sharing = request.sharing,
                .may_write = request.may_write,
                .grows_down = request.grows_down,
                .file = request.file,
                .file_offset = request.file_offset,
                .name = request.name};
  vmas_.insert(vma);
  if (request.file == nullptr && !request.grows_down && *size <= kEagerBytes &&
      has(request.protection, Protection::kWrite)) {
    static_cast<void>(populate(vma, vma.begin, vma.end));  // A fault will say if it failed.
  }
  return placed;
}

SysResult GuestAddressSpace::unmap(UserAddress begin, std::uint64_t size_bytes) {
  const auto size = page_rounded(begin.value, size_bytes);
  if (!is_aligned(begin.value, kPageBytes) || size_bytes == 0 || !size) {
    return -EINVAL;
  }
  if (!split_edges(begin.value, begin.value + *size)) {
    return -ENOMEM;
  }
  drop(begin.value, begin.value + *size);
  return 0;
}

SysResult GuestAddressSpace::protect(UserAddress begin, std::uint64_t size_bytes,
                                     Protection protection) {
  if (!is_aligned(begin.value, kPageBytes)) {
    return -EINVAL;
  }
  if (size_bytes == 0) {
    return 0;
  }
  const auto size = page_rounded(begin.value, size_bytes);
  if (!size || vmas_.size() + 2 > kMappingsMax) {
    return -ENOMEM;
  }
  const std::uint64_t end = begin.value + *size;
  // Up to the first hole, as Linux does.
  std::uint64_t reached = begin.value;
  for (const Vma* vma = vmas_.find(reached); vma != nullptr && reached < end;
       vma = vmas_.find(reached)) {
    reached = std::min(vma->end, end);
    if (vma->sharing == MapRequest::Sharing::kShared && vma->file != nullptr &&
        has(protection, Protection::kWrite) && !(vma->may_write && vma->shows_shared_pages())) {
      return -EACCES;
    }
  }
  if (!split_edges(begin.value, reached)) {
    return -ENOMEM;
  }
  for (Vma& vma : vmas_.remove(begin.value, reached)) {
    if (vma.protection != protection) {
      vma.protection = protection;
      protect_pages(vma.begin, vma.end, protection);
    }
    vmas_.insert(std::move(vma));
  }
  return reached == end ? 0 : -ENOMEM;
}

SysResult GuestAddressSpace::advise(UserAddress begin, std::uint64_t size_bytes, int advice) {
  const auto size = page_rounded(begin.value, size_bytes);
  if (!is_aligned(begin.value, kPageBytes) || !size) {
    return -EINVAL;
  }
  const std::uint64_t end = begin.value + *size;
  switch (advice) {
    case kDontNeed:
      if (!split_edges(begin.value, end)) {
        return -ENOMEM;
      }
      for (const Vma* vma = vmas_.find_from(begin.value); vma != nullptr && vma->begin < end;
           vma = vmas_.find_from(vma->end)) {
        release_pages(*vma, std::max(vma->begin, begin.value), std::min(vma->end, end));
      }
      break;
    case kPopulateRead:
    case kPopulateWrite: {
      const Access access = advice == kPopulateRead ? Access::kRead : Access::kWrite;
      for (std::uint64_t at = begin.value; at < end; at += kPageBytes) {
        switch (resolve({at}, access)) {
          case Resolution::kResolved:
            break;
          case Resolution::kDenied:
            return -EINVAL;
          case Resolution::kBeyondFile:
            return -EFAULT;
          case Resolution::kNotMapped:
          case Resolution::kOutOfMemory:
            return -ENOMEM;
        }
      }
      break;
    }
    case kNormal:
    case kRandom:
    case kSequential:
    case kWillNeed:
    case kFree:  // Keeping the content is one of the two things it allows.
    case kDontFork:
    case kDoFork:
    case kHugePage:
    case kNoHugePage:
    case kDontDump:
    case kDoDump:
    case kWipeOnFork:
    case kKeepOnFork:
    case kCold:
    case kPageOut:
      break;
    default:
      return -EINVAL;
  }
  return vmas_.is_mapped(begin.value, end) ? 0 : -ENOMEM;
}

SysResult GuestAddressSpace::set_break(UserAddress end) {
  const std::uint64_t old_top = align_up(break_end_, kPageBytes);
  const auto unchanged = static_cast<SysResult>(break_end_);
  if (end.value < plan_.break_begin || end.value > kUserSpaceEnd) {
    return unchanged;
  }
  const std::uint64_t new_top = align_up(end.value, kPageBytes);
  if (new_top > old_top) {
    const std::uint64_t grown = new_top - old_top;
    // A page stays free behind the heap.
    if (grown > frame_bytes_ || !vmas_.is_free(old_top, new_top + kPageBytes)) {
      return unchanged;
    }
    vmas_.insert({.begin = old_top,
                  .end = new_top,
                  .protection = Protection::kRead | Protection::kWrite,
                  .name = "[heap]"});
    if (grown <= kEagerBytes) {
      static_cast<void>(populate(*vmas_.find(old_top), old_top, new_top));
    }
  } else if (new_top < old_top) {
    if (!split_edges(new_top, old_top)) {
      return unchanged;
    }
    drop(new_top, old_top);
  }
  break_end_ = end.value;
  return static_cast<SysResult>(break_end_);
}

}  // namespace stasis::linux_guest::vm
