#include "experiments/harness/page_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include "core/unique_fd.h"

namespace stasis::experiments {
namespace {

// include/uapi/linux/mman.h of Linux 6.5. The C library's headers may be older than the kernel.
struct CachestatRange {
  std::uint64_t offset = 0, length = 0;
};
struct Cachestat {
  std::uint64_t cached = 0, dirty = 0, writeback = 0, evicted = 0, recently_evicted = 0;
};
#ifdef SYS_cachestat
constexpr long kCachestatNumber = SYS_cachestat;
#else
constexpr long kCachestatNumber = 451;  // The same on every architecture.
#endif

struct DataSegment {
  std::uint64_t begin = 0, end = 0;  // Byte offsets, page multiples but for the file's end.
};

std::uint64_t page_bytes() {
  static const auto size = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

std::uint64_t pages_of(const DataSegment& segment) {
  return (segment.end - segment.begin + page_bytes() - 1) / page_bytes();
}

Result<UniqueFd> open_file(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) {
    return errno_error(errno, "open " + path);
  }
  return fd;
}

Result<std::vector<DataSegment>> data_segments(int fd, const std::string& path) {
  std::vector<DataSegment> segments;
  off_t position = 0;
  while (true) {
    const off_t data = ::lseek(fd, position, SEEK_DATA);
    if (data < 0 && errno == ENXIO) {
      return segments;
    }
    const off_t hole = data < 0 ? data : ::lseek(fd, data, SEEK_HOLE);
    if (hole < 0) {
      return errno_error(errno, "find the holes of " + path);
    }
    segments.push_back({static_cast<std::uint64_t>(data), static_cast<std::uint64_t>(hole)});
    position = hole;
  }
}

// False if this kernel has no cachestat(2).
Result<bool> add_by_cachestat(int fd, const std::string& path, const DataSegment& segment,
                              CacheResidency& residency) {
  const CachestatRange range{.offset = segment.begin, .length = segment.end - segment.begin};
  Cachestat found;
  if (::syscall(kCachestatNumber, fd, &range, &found, 0U) != 0) {
    if (errno == ENOSYS || errno == EPERM || errno == EOPNOTSUPP) {
      return false;
    }
    return errno_error(errno, "cachestat " + path);
  }
  residency.cached_pages += found.cached;
  residency.dirty_pages += found.dirty + found.writeback;
  return true;
}

Result<void> add_by_mincore(int fd, const std::string& path, const DataSegment& segment,
                            CacheResidency& residency) {
  const std::uint64_t begin = segment.begin / page_bytes() * page_bytes();
  const std::uint64_t bytes = segment.end - begin;
  void* mapping = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(begin));
  if (mapping == MAP_FAILED) {
    return errno_error(errno, "map " + path);
  }
  std::vector<unsigned char> resident((bytes + page_bytes() - 1) / page_bytes());
  const int failed = ::mincore(mapping, bytes, resident.data()) == 0 ? 0 : errno;
  ::munmap(mapping, bytes);
  if (failed != 0) {
    return errno_error(failed, "mincore " + path);
  }
  residency.cached_pages += static_cast<std::uint64_t>(std::count_if(
      resident.begin(), resident.end(), [](unsigned char r) { return (r & 1U) != 0; }));
  return {};
}

Result<void> add_file(const std::string& path, ResidencyMethod& method, CacheResidency& residency) {
  STASIS_ASSIGN(const UniqueFd fd, open_file(path));
  STASIS_ASSIGN(const std::vector<DataSegment> segments, data_segments(fd.get(), path));
  for (const DataSegment& segment : segments) {
    residency.data_pages += pages_of(segment);
    if (method == ResidencyMethod::kBest) {
      STASIS_ASSIGN(const bool known, add_by_cachestat(fd.get(), path, segment, residency));
      if (known) {
        continue;
      }
      method = ResidencyMethod::kMincore;
    }
    STASIS_TRY(add_by_mincore(fd.get(), path, segment, residency));
  }
  return {};
}

Result<void> evict(const std::string& path) {
  STASIS_ASSIGN(const UniqueFd fd, open_file(path));
  // Dirty pages cannot be dropped, so they are written first.
  if (::fsync(fd.get()) != 0) {
    return errno_error(errno, "fsync " + path);
  }
  if (const int failed = ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED); failed != 0) {
    return errno_error(failed, "fadvise " + path);
  }
  return {};
}

Result<void> read_in(const std::string& path) {
  STASIS_ASSIGN(const UniqueFd fd, open_file(path));
  STASIS_ASSIGN(const std::vector<DataSegment> segments, data_segments(fd.get(), path));
  constexpr std::size_t kBlockBytes = std::size_t{1} << 20U;
  const auto buffer = std::make_unique<std::byte[]>(kBlockBytes);  // NOLINT: a plain buffer.
  for (const DataSegment& segment : segments) {
    std::uint64_t offset = segment.begin;
    while (offset < segment.end) {
      const ssize_t got = ::pread(
          fd.get(), buffer.get(),
          static_cast<std::size_t>(std::min<std::uint64_t>(kBlockBytes, segment.end - offset)),
          static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) {
        continue;
      }
      if (got <= 0) {
        return errno_error(got == 0 ? EIO : errno, "read " + path);
      }
      offset += static_cast<std::uint64_t>(got);
    }
  }
  return {};
}

bool is_reached(const CacheResidency& residency, CacheState state) {
  return state == CacheState::kCold ? residency.cached_pages == 0
                                    : residency.cached_pages >= residency.data_pages;
}

}  // namespace

std::string_view name_of(CacheState state) {
  return state == CacheState::kCold ? "cold" : "warm";
}

Result<CacheResidency> cache_residency(std::span<const std::string> files, ResidencyMethod method) {
  CacheResidency residency;
  for (const std::string& file : files) {
    STASIS_TRY(add_file(file, method, residency));
  }
  residency.method = method == ResidencyMethod::kBest ? "cachestat" : "mincore";
  return residency;
}

Result<CacheResidency> set_cache_state(std::span<const std::string> files, CacheState state) {
  // More than one attempt: pages that another CPU holds in its batch for the LRU lists cannot be
  // dropped at once, and reclaim may take a warm page before the last one is read. The pause lets
  // the kernel drain; whether it has is then observed, not assumed.
  constexpr int kAttempts = 10;
  STASIS_ASSIGN(CacheResidency residency, cache_residency(files));
  if (is_reached(residency, state)) {
    return residency;
  }
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (attempt > 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(attempt));
    }
    for (const std::string& file : files) {
      STASIS_TRY(state == CacheState::kCold ? evict(file) : read_in(file));
    }
    STASIS_ASSIGN(residency, cache_residency(files));
    if (is_reached(residency, state)) {
      return residency;
    }
  }
  return Error{.code = Errc::kTimeout,
               .message = fmt::format(
                   "page cache: asked for {}, but {} of {} data pages are cached{}", name_of(state),
                   residency.cached_pages, residency.data_pages,
                   state == CacheState::kCold
                       ? "; another process has the files mapped or open for writing: end it"
                       : "; the host is short of memory: use smaller guests or free some")};
}

Result<std::vector<std::string>> files_below(const std::string& directory) {
  namespace fs = std::filesystem;
  std::error_code failed;
  std::vector<std::string> files;
  fs::recursive_directory_iterator entry(directory, failed);
  while (!failed && entry != fs::recursive_directory_iterator()) {
    if (entry->is_regular_file(failed)) {
      files.push_back(entry->path().string());
    }
    entry.increment(failed);
  }
  if (failed) {
    return Error{
        .code = failed == std::errc::no_such_file_or_directory ? Errc::kNotFound : Errc::kIo,
        .os_error = failed.value(),
        .message = "list " + directory + ": " + failed.message()};
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace stasis::experiments
