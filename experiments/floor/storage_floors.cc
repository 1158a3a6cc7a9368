#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/clock.h"
#include "core/unique_fd.h"
#include "experiments/floor/floors.h"

namespace stasis::experiments {
namespace {

Result<UniqueFd> open_file(const std::string& path, int flags) {
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, 0600));
  if (!fd.is_open()) {
    return errno_error(errno, "open " + path);
  }
  return fd;
}

Result<std::uint64_t> size_of(int fd, const std::string& path) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) {
    return errno_error(errno, "stat " + path);
  }
  return static_cast<std::uint64_t>(status.st_size);
}

Result<std::vector<FileSegment>> segments_of(int fd, const std::string& path) {
  std::vector<FileSegment> segments;
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
    segments.push_back({static_cast<std::uint64_t>(data), static_cast<std::uint64_t>(hole - data)});
    position = hole;
  }
}

Result<void> read_segment(int fd, const std::string& path, const FileSegment& segment,
                          std::size_t block_bytes, std::byte* memory) {
  std::uint64_t done = 0;
  while (done < segment.bytes) {
    const std::size_t block = std::min<std::uint64_t>(block_bytes, segment.bytes - done);
    const ssize_t got = ::pread(fd, memory + segment.offset + done, block,
                                static_cast<off_t>(segment.offset + done));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return errno_error(got == 0 ? EIO : errno, "read " + path);
    }
    done += static_cast<std::uint64_t>(got);
  }
  return {};
}

Result<void> write_segment(int fd, const std::string& path, std::span<const std::byte> bytes) {
  constexpr std::size_t kBlock = std::size_t{1} << 20U;
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), std::min(kBlock, bytes.size()));
    if (put < 0 && errno == EINTR) {
      continue;
    }
    if (put < 0) {
      return errno_error(errno, "write " + path);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  return {};
}

}  // namespace

Result<std::vector<FileSegment>> file_segments(const std::string& path) {
  STASIS_ASSIGN(const UniqueFd fd, open_file(path, O_RDONLY));
  return segments_of(fd.get(), path);
}

Result<std::int64_t> pread_to_fresh_ns(const std::string& path, std::size_t block_bytes) {
  STASIS_ASSIGN(const UniqueFd fd, open_file(path, O_RDONLY));
  STASIS_ASSIGN(const std::uint64_t bytes, size_of(fd.get(), path));
  STASIS_ASSIGN(const std::vector<FileSegment> segments, segments_of(fd.get(), path));
  const MonotonicNs begin = host_clock().now();
  STASIS_ASSIGN(const FreshMemory memory, FreshMemory::map(Backing::kHugePages, bytes));
  for (const FileSegment& segment : segments) {
    STASIS_TRY(read_segment(fd.get(), path, segment, block_bytes, memory.bytes().data()));
  }
  return host_clock().now() - begin;
}

Result<WriteTimes> write_file_ns(const std::string& path, std::span<const std::byte> memory,
                                 std::span<const FileSegment> segments) {
  WriteTimes times;
  const MonotonicNs begin = host_clock().now();
  STASIS_ASSIGN(const UniqueFd fd, open_file(path, O_WRONLY | O_CREAT | O_TRUNC));
  Result<void> written;
  for (const FileSegment& segment : segments) {
    if (written) {
      written = write_segment(fd.get(), path, memory.subspan(segment.offset, segment.bytes));
    }
  }
  times.write = host_clock().now() - begin;
  const bool synced = written && ::fdatasync(fd.get()) == 0;
  const int sync_error = synced ? 0 : errno;
  times.sync = host_clock().now() - begin - times.write;
  ::unlink(path.c_str());
  STASIS_TRY(written);
  if (!synced) {
    return errno_error(sync_error, "fdatasync " + path);
  }
  return times;
}

}  // namespace stasis::experiments
