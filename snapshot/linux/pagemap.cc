#include "snapshot/linux/pagemap.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <string>

namespace stasis::snapshot::internal {
namespace {

// include/uapi/linux/fs.h of Linux 6.7, which is newer than the headers of some distributions;
// under names of our own, so that it does not matter whether they have it.
struct ScanRegion {
  std::uint64_t start, end, categories;
};
struct ScanArgument {
  std::uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
  std::uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
static_assert(sizeof(ScanRegion) == 24);
static_assert(sizeof(ScanArgument) == 96);

constexpr unsigned long kPagemapScan = _IOWR('f', 16, ScanArgument);
constexpr std::uint64_t kPageIsWritten = 1U << 1U;
constexpr std::uint64_t kScanWriteProtectMatching = 1U << 0U;
constexpr std::uint64_t kScanCheckWriteProtectAsync = 1U << 1U;
static_assert(kPagemapScan == 0xC0606610UL);
#ifdef PAGEMAP_SCAN
static_assert(sizeof(ScanRegion) == sizeof(page_region));
static_assert(kPagemapScan == PAGEMAP_SCAN);
static_assert(kPageIsWritten == PAGE_IS_WRITTEN);
static_assert(kScanWriteProtectMatching == PM_SCAN_WP_MATCHING);
static_assert(kScanCheckWriteProtectAsync == PM_SCAN_CHECK_WPASYNC);
#endif

// pagemap.rst: bit 63 "page present", bit 62 "page swapped", which markers without a page set, too.
constexpr std::uint64_t kEntryPresentOrSwapped = std::uint64_t{3} << 62U;
constexpr std::uint64_t kEntryPresent = std::uint64_t{1} << 63U;
constexpr std::uint64_t kEntryFileOrShared = std::uint64_t{1} << 61U;
// "Page exclusively mapped": never set for the zero page, which is neither a file's.
constexpr std::uint64_t kEntryExclusive = std::uint64_t{1} << 56U;
// Bit 55 "pte is soft-dirty", soft-dirty.rst.
constexpr std::uint64_t kEntrySoftDirty = std::uint64_t{1} << 55U;

std::uint64_t address_of(const std::byte* pointer) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): the address as a number.
  return reinterpret_cast<std::uintptr_t>(pointer);
}

// Appends, joined to the last piece where it continues that.
void append(std::span<std::byte> piece, HostRanges& found) {
  if (!found.empty() && found.back().data() + found.back().size() == piece.data()) {
    found.back() = {found.back().data(), found.back().size() + piece.size()};
  } else {
    found.push_back(piece);
  }
}

}  // namespace

Result<Pagemap> Pagemap::open() {
  return open_path("/proc/self/pagemap");
}

Result<Pagemap> Pagemap::open_of(pid_t child) {
  return open_path("/proc/" + std::to_string(child) + "/pagemap");
}

Result<Pagemap> Pagemap::open_path(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) {
    Error error = errno_error(errno, path);
    if (error.os_error == ENOENT) {
      error.code = Errc::kNotSupported;
    }
    return error;
  }
  return Pagemap(std::move(fd));
}

Result<void> Pagemap::check_scan() const {
  ScanArgument nothing{};
  nothing.size = sizeof(nothing);
  nothing.return_mask = kPageIsWritten;
  if (::ioctl(fd_.get(), kPagemapScan, &nothing) < 0) {
    const int refused = errno;
    return Error{Errc::kNotSupported, refused,
                 "this kernel has no PAGEMAP_SCAN ioctl, which came with Linux 6.7"};
  }
  return {};
}

Result<std::size_t> Pagemap::read_entries(std::span<const std::byte> range,
                                          std::span<std::uint64_t> entries) const {
  const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t pages = std::min<std::uint64_t>(range.size() / page_bytes, entries.size());
  const std::uint64_t first = address_of(range.data()) / page_bytes;
  for (;;) {
    const ssize_t got = ::pread(fd_.get(), entries.data(), pages * sizeof(std::uint64_t),
                                static_cast<off_t>(first * sizeof(std::uint64_t)));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < static_cast<ssize_t>(sizeof(std::uint64_t))) {
      return errno_error(got < 0 ? errno : EIO, "read the page map");
    }
    return static_cast<std::size_t>(got) / sizeof(std::uint64_t);
  }
}

template <typename PerPage>
Result<void> Pagemap::for_each_entry(std::span<std::byte> range, PerPage per_page) const {
  const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::array<std::uint64_t, 512> entries{};
  while (!range.empty()) {
    STASIS_ASSIGN(const std::size_t count, read_entries(range, entries));
    for (std::size_t i = 0; i < count; ++i) {
      per_page(range.subspan(i * page_bytes, page_bytes), entries[i]);
    }
    range = range.subspan(count * page_bytes);
  }
  return {};
}

Result<void> Pagemap::find_resident(std::span<std::byte> range, HostRanges& found) const {
  return find_marked(range, kEntryPresentOrSwapped, found);
}

Result<void> Pagemap::find_marked(std::span<std::byte> range, std::uint64_t any_of,
                                  HostRanges& found) const {
  return for_each_entry(range, [&](std::span<std::byte> page, std::uint64_t entry) {
    if ((entry & any_of) != 0) {
      append(page, found);
    }
  });
}

Result<void> Pagemap::visit_present(std::span<std::byte> range, const Visit& visit) const {
  HostRanges run;  // At most one, of pages of one kind.
  bool run_is_own = false;
  const auto finish_run = [&] {
    if (!run.empty()) {
      visit(run.front(), run_is_own);
      run.clear();
    }
  };
  STASIS_TRY(for_each_entry(range, [&](std::span<std::byte> page, std::uint64_t entry) {
    if ((entry & kEntryPresent) == 0) {
      finish_run();
      return;
    }
    const bool is_own = (entry & kEntryExclusive) != 0 && (entry & kEntryFileOrShared) == 0;
    if (is_own != run_is_own) {
      finish_run();
    }
    run_is_own = is_own;
    append(page, run);
  }));
  finish_run();
  return {};
}

Result<void> Pagemap::find_soft_dirty(std::span<std::byte> range, HostRanges& found) const {
  return find_marked(range, kEntrySoftDirty, found);
}

// proc(5), /proc/PID/clear_refs: 4 clears the soft-dirty bits.
Result<void> clear_soft_dirty() {
  const UniqueFd fd(::open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC));
  if (!fd.is_open()) {
    return errno_error(errno, "/proc/self/clear_refs");
  }
  constexpr char kSoftDirty = '4';
  if (::write(fd.get(), &kSoftDirty, 1) != 1) {
    return errno_error(errno, "write to /proc/self/clear_refs");
  }
  return {};
}

namespace pagemap_entry {

bool is_there(std::uint64_t entry) {
  return (entry & kEntryPresentOrSwapped) != 0;
}

std::uint64_t frame(std::uint64_t entry) {
  constexpr std::uint64_t kPresent = std::uint64_t{1} << 63U;
  constexpr std::uint64_t kFrame = (std::uint64_t{1} << 55U) - 1;
  return (entry & kPresent) != 0 ? entry & kFrame : 0;
}

}  // namespace pagemap_entry

Result<void> Pagemap::take_written(std::span<std::byte> range, HostRanges& found) const {
  std::array<ScanRegion, 512> regions{};
  const std::uint64_t base = address_of(range.data());
  ScanArgument argument{};
  argument.size = sizeof(argument);
  argument.flags = kScanWriteProtectMatching | kScanCheckWriteProtectAsync;
  argument.start = base;
  argument.end = base + range.size();
  argument.vec = address_of(std::as_bytes(std::span(regions)).data());
  argument.vec_len = regions.size();
  argument.category_mask = kPageIsWritten;
  argument.return_mask = kPageIsWritten;
  while (argument.start < argument.end) {
    const int count = ::ioctl(fd_.get(), kPagemapScan, &argument);
    if (count < 0) {
      return errno_error(errno, "PAGEMAP_SCAN");
    }
    for (const ScanRegion& region : std::span(regions).first(static_cast<std::size_t>(count))) {
      append(range.subspan(region.start - base, region.end - region.start), found);
    }
    // Behind the last page looked at: `end`, unless the vector was full.
    if (argument.walk_end <= argument.start) {
      return Error{Errc::kIo, 0, "PAGEMAP_SCAN makes no progress"};
    }
    argument.start = argument.walk_end;
  }
  return {};
}

}  // namespace stasis::snapshot::internal
