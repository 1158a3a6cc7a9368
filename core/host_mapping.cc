#include "core/host_mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <string>
#include <utility>

#include "core/text.h"
#include "core/unique_fd.h"

namespace stasis::internal {
namespace {

constexpr int kProtection = PROT_READ | PROT_WRITE;

// What stands for one kind of mapping in mmap()'s arguments.
struct MapArguments {
  int flags = 0;
  int fd = -1;
  off_t offset = 0;
};

Error mapping_error(int os_error, const RegionSpec& spec) {
  Error error = errno_error(os_error, "guest memory " + describe(spec.range) + " (" +
                                          std::string(name_of(spec.backing)) + ", huge pages " +
                                          std::string(name_of(spec.huge_pages)) +
                                          "): host refused the mapping");
  if (os_error == ENOMEM) {
    error.message = describe_bytes(spec.range.size) + " of guest memory: " + error.message;
    error.message += spec.huge_pages == HugePages::kHugetlb
                         ? "; reserve huge pages in /proc/sys/vm/nr_hugepages"
                         : "; ask for less with --memory";
  }
  return error;
}

// Flags that keep the kernel from reserving swap for memory that a guest may never touch.
constexpr int kAnonymousFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

#if defined(__linux__)
Result<MapArguments> hugetlb_arguments(BackingKind backing, int memfd) {
  if (backing == BackingKind::kMemfd) {
    return MapArguments{MAP_SHARED, memfd, 0};
  }
  // Reserved, unlike other anonymous memory: without free huge pages this must fail here and not
  // kill the process at the first touch (Documentation/admin-guide/mm/hugetlbpage.rst).
  return MapArguments{MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0};
}

Result<UniqueFd> create_memfd(const RegionSpec& spec) {
  const bool hugetlb = spec.huge_pages == HugePages::kHugetlb;
  UniqueFd fd(::memfd_create("stasis-guest", MFD_CLOEXEC | (hugetlb ? MFD_HUGETLB : 0U)));
  if (!fd.is_open()) {
    return mapping_error(errno, spec);
  }
  if (::ftruncate(fd.get(), static_cast<off_t>(spec.range.size)) != 0) {
    return mapping_error(errno == EFBIG ? ENOMEM : errno, spec);
  }
  return fd;
}
#else
Result<MapArguments> hugetlb_arguments(BackingKind, int) {
  return Error{Errc::kNotSupported, 0, "guest memory: this host has no reserved huge pages"};
}

Result<UniqueFd> create_memfd(const RegionSpec&) {
  return Error{Errc::kNotSupported, 0, "guest memory: this host has no memfd backing"};
}
#endif

Result<MapArguments> arguments_of(const RegionSpec& spec, int memfd) {
  if (spec.huge_pages == HugePages::kHugetlb) {
    return hugetlb_arguments(spec.backing, memfd);
  }
  switch (spec.backing) {
    case BackingKind::kAnonymous:
      return MapArguments{kAnonymousFlags, -1, 0};
    case BackingKind::kMemfd:
      return MapArguments{MAP_SHARED | MAP_NORESERVE, memfd, 0};
    case BackingKind::kPrivateFile:
      return MapArguments{MAP_PRIVATE | MAP_NORESERVE, spec.file.fd,
                          static_cast<off_t>(spec.file.offset)};
    case BackingKind::kSharedFile:
      return MapArguments{MAP_SHARED, spec.file.fd, static_cast<off_t>(spec.file.offset)};
  }
  STASIS_CHECK(false);
}

// Advice cannot fail in a way that matters: a kernel without transparent huge pages answers EINVAL
// and has the small pages that kNever wants and kTransparent tolerates.
void advise(std::byte* host, std::uint64_t size, HugePages huge_pages) {
#if defined(__linux__)
  if (huge_pages != HugePages::kHugetlb) {
    ::madvise(host, size, huge_pages == HugePages::kTransparent ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  }
#else
  static_cast<void>(host), static_cast<void>(size), static_cast<void>(huge_pages);
#endif
}

// A mapping whose address is congruent to the guest's modulo 2 MiB: reserve more, trim both ends,
// and map over the rest. Anonymous memory needs no second mmap(): the reservation is already it.
Result<std::byte*> map_congruent(const RegionSpec& spec, const MapArguments& arguments) {
  const std::uint64_t size = align_up(spec.range.size, host_page_size_bytes());
  const bool reservation_is_final = arguments.flags == kAnonymousFlags;
  void* reserved = ::mmap(nullptr, size + kHugePageBytes,
                          reservation_is_final ? kProtection : PROT_NONE, kAnonymousFlags, -1, 0);
  if (reserved == MAP_FAILED) {
    return mapping_error(errno, spec);
  }
  auto* const begin = static_cast<std::byte*>(reserved);
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): the address as a number.
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  const std::uint64_t head = (spec.range.begin.value - address) & (kHugePageBytes - 1);
  std::byte* const host = begin + head;
  if (head != 0) {
    ::munmap(begin, head);
  }
  if (head != kHugePageBytes) {
    ::munmap(host + size, kHugePageBytes - head);
  }
  if (!reservation_is_final && ::mmap(host, size, kProtection, arguments.flags | MAP_FIXED,
                                      arguments.fd, arguments.offset) == MAP_FAILED) {
    const int os_error = errno;
    ::munmap(host, size);
    return mapping_error(os_error, spec);
  }
  return host;
}

Result<std::byte*> map_anywhere(const RegionSpec& spec, const MapArguments& arguments) {
  void* const host = ::mmap(nullptr, spec.range.size, kProtection, arguments.flags, arguments.fd,
                            arguments.offset);
  if (host == MAP_FAILED) {
    return mapping_error(errno, spec);
  }
  return static_cast<std::byte*>(host);
}

}  // namespace

std::uint64_t host_page_size_bytes() {
  return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

Result<MemoryRegion> map_region(const RegionSpec& spec) {
  // Half the address space is more than any host has, and leaves room for the arithmetic below.
  if (spec.range.size > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) / 2) {
    return mapping_error(ENOMEM, spec);
  }
  UniqueFd memfd;
  if (spec.backing == BackingKind::kMemfd) {
    STASIS_ASSIGN(memfd, create_memfd(spec));
  }
  STASIS_ASSIGN(const MapArguments arguments, arguments_of(spec, memfd.get()));
  MemoryRegion region{spec.range, spec.backing, spec.huge_pages};
  if (spec.huge_pages == HugePages::kTransparent) {
    STASIS_ASSIGN(region.host, map_congruent(spec, arguments));
  } else {
    STASIS_ASSIGN(region.host, map_anywhere(spec, arguments));
  }
  advise(region.host, spec.range.size, spec.huge_pages);
  region.memfd = memfd.release();
  return region;
}

void unmap_region(const MemoryRegion& region) noexcept {
  ::munmap(region.host, region.range.size);
  UniqueFd(region.memfd).reset();
}

Result<void> map_file_over(const MemoryRegion& region, std::uint64_t offset, std::uint64_t size,
                           FileSource file) {
  STASIS_TRY(check_file_covers(file, size));
  if (::mmap(region.host + offset, size, kProtection, MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED,
             file.fd, static_cast<off_t>(file.offset)) == MAP_FAILED) {
    return errno_error(errno, "map file over guest memory " +
                                  describe(GpaRange{region.range.begin + offset, size}));
  }
  return {};
}

Result<void> map_zero_over(const MemoryRegion& region, std::uint64_t offset, std::uint64_t size) {
  std::byte* const host = region.host + offset;
  const auto refused = [&] {
    return errno_error(
        errno, "zero guest memory " + describe(GpaRange{region.range.begin + offset, size}));
  };
#if defined(__linux__)
  if (region.backing == BackingKind::kMemfd) {
    // A hole, because a new mapping would show the memfd's old bytes.
    if (::fallocate(region.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(offset), static_cast<off_t>(size)) != 0) {
      return refused();
    }
    return {};
  }
  const int huge = region.huge_pages == HugePages::kHugetlb ? MAP_HUGETLB : MAP_NORESERVE;
#else
  constexpr int huge = MAP_NORESERVE;
#endif
  if (::mmap(host, size, kProtection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | huge, -1, 0) ==
      MAP_FAILED) {
    return refused();
  }
  advise(host, size, region.huge_pages);
  return {};
}

Result<void> check_file_covers(FileSource file, std::uint64_t size) {
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) {
    return errno_error(errno, "file behind guest memory");
  }
  if (!S_ISREG(status.st_mode)) {
    return {};  // A device's size is not in st_size.
  }
  const std::uint64_t end = align_up(static_cast<std::uint64_t>(status.st_size),
                                     host_page_size_bytes());  // The last page reads zeros.
  if (!fits(file.offset, size, end)) {
    return Error{Errc::kOutOfRange, 0,
                 "file behind guest memory: " + std::to_string(size) + " bytes at offset " +
                     std::to_string(file.offset) + " were asked for but the file has " +
                     std::to_string(status.st_size) + " bytes"};
  }
  return {};
}

Result<void> remember_length(FileSource file, std::uint64_t size_bytes,
                             std::vector<MappedFile>& files) {
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) {
    return errno_error(errno, "file behind guest memory");
  }
  if (!S_ISREG(status.st_mode)) {
    return {};
  }
  // What is mapped beyond the end was never there; check_file_covers() allows the last page.
  const std::uint64_t end =
      std::min(file.offset + size_bytes, static_cast<std::uint64_t>(status.st_size));
  const std::uint64_t device = status.st_dev;
  const std::uint64_t inode = status.st_ino;
  for (MappedFile& known : files) {
    if (known.device == device && known.inode == inode) {
      known.size_bytes = std::max(known.size_bytes, end);
      return {};
    }
  }
  UniqueFd own(::fcntl(file.fd, F_DUPFD_CLOEXEC, 0));
  if (!own.is_open()) {
    return errno_error(errno, "file behind guest memory: keep it open");
  }
  files.push_back({std::move(own), device, inode, end});
  return {};
}

Result<void> check_length(const MappedFile& file) {
  struct stat status {};
  if (::fstat(file.fd.get(), &status) != 0) {
    return errno_error(errno, "file behind guest memory");
  }
  if (static_cast<std::uint64_t>(status.st_size) < file.size_bytes) {
    return Error{Errc::kIo, 0,
                 "guest memory: a file that it maps was cut short while it was in use, from at "
                 "least " +
                     std::to_string(file.size_bytes) + " bytes to " +
                     std::to_string(status.st_size) +
                     "; what it held is lost here. Do not change the files of a snapshot that is "
                     "in use, and check it with `stasis verify`"};
  }
  return {};
}

}  // namespace stasis::internal
