#include "snapshot/restore/payload_window.h"

#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "core/address.h"

#if defined(__linux__) && !defined(MADV_POPULATE_READ)
#define MADV_POPULATE_READ 22  // Linux 5.14, include/uapi/asm-generic/mman-common.h.
#endif

namespace stasis::snapshot::internal {
namespace {

std::string place(std::uint64_t offset, std::uint64_t size_bytes) {
  return "map " + std::to_string(size_bytes) + " bytes of the payload at offset " +
         std::to_string(offset);
}

}  // namespace

Result<void> PayloadWindow::open(int fd, std::uint64_t offset, std::uint64_t size_bytes) {
  close();
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t begin = align_down(offset, page);
  const std::uint64_t size = offset - begin + size_bytes;
  void* const base = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(begin));
  if (base == MAP_FAILED) {
    return errno_error(errno, place(offset, size_bytes));
  }
  base_ = static_cast<const std::byte*>(base);
  file_offset_ = begin;
  size_bytes_ = size;
  // Whole pages: the handler replaces no less.
  STASIS_TRY(guard_.watch(static_cast<std::byte*>(base), align_up(size, page)));
#if defined(__linux__)
  // Reports what would otherwise be a SIGBUS, and takes one system call instead of a fault for
  // every 16 pages. EINVAL: a kernel before 5.14, which faults instead.
  if (::madvise(base, size, MADV_POPULATE_READ) != 0 && errno != EINVAL) {
    const int os_error = errno;
    close();
    return Error{Errc::kIo, os_error,
                 place(offset, size_bytes) + ": the file is shorter than that or cannot be read"};
  }
#endif
  return {};
}

void PayloadWindow::close() noexcept {
  if (base_ != nullptr) {
    guard_.release();
    ::munmap(const_cast<std::byte*>(base_), size_bytes_);  // NOLINT(*-const-cast): munmap's type.
    base_ = nullptr;
    size_bytes_ = 0;
  }
}

std::span<const std::byte> PayloadWindow::bytes(std::uint64_t offset,
                                                std::uint64_t size_bytes) const {
  if (base_ == nullptr || offset < file_offset_ ||
      !fits(offset - file_offset_, size_bytes, size_bytes_)) {
    return {};
  }
  return {base_ + (offset - file_offset_), size_bytes};
}

}  // namespace stasis::snapshot::internal
