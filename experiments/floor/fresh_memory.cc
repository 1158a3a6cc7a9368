#include "experiments/floor/fresh_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "core/unique_fd.h"

namespace stasis::experiments {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kHugePage = std::size_t{2} << 20U;

Result<UniqueFd> backing_file(Backing backing, std::size_t bytes, const std::string& path) {
  if (backing == Backing::kPrivateFile) {
    UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.is_open()) {
      return errno_error(errno, "open " + path);
    }
    return file;
  }
  UniqueFd memfd(::memfd_create("stasis-floor", MFD_CLOEXEC));
  if (!memfd.is_open() || ::ftruncate(memfd.get(), static_cast<off_t>(bytes)) != 0) {
    return errno_error(errno, "make a memfd");
  }
  return memfd;
}

}  // namespace

std::string_view name_of(Backing backing) {
  switch (backing) {
    case Backing::kSmallPages:
      return "anonymous_4k";
    case Backing::kHugePages:
      return "anonymous_huge";
    case Backing::kMemfd:
      return "memfd_shared";
    case Backing::kPrivateFile:
      return "private_file";
  }
  return "unknown backing";
}

Result<FreshMemory> FreshMemory::map(Backing backing, std::size_t bytes, const std::string& path) {
  if (backing == Backing::kMemfd || backing == Backing::kPrivateFile) {
    STASIS_ASSIGN(const UniqueFd fd, backing_file(backing, bytes, path));
    void* mapping = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                           backing == Backing::kMemfd ? MAP_SHARED : MAP_PRIVATE, fd.get(), 0);
    if (mapping == MAP_FAILED) {
      return errno_error(errno, "map " + std::string(name_of(backing)));
    }
    return FreshMemory(mapping, bytes, {static_cast<std::byte*>(mapping), bytes});
  }
  // Room to begin at a multiple of 2 MiB.
  const std::size_t mapped = bytes + kHugePage;
  void* mapping = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) {
    return errno_error(errno, "map anonymous memory");
  }
  void* aligned = mapping;
  std::size_t room = mapped;
  aligned = std::align(kHugePage, bytes, aligned, room);
  const int advice = backing == Backing::kHugePages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE;
  // A kernel without huge pages refuses the advice; then there are only small ones.
  static_cast<void>(::madvise(aligned, bytes, advice));
  return FreshMemory(mapping, mapped, {static_cast<std::byte*>(aligned), bytes});
}

FreshMemory::~FreshMemory() {
  if (mapping_ != nullptr) {
    ::munmap(mapping_, mapped_);
  }
}

FreshMemory::FreshMemory(FreshMemory&& other) noexcept
    : mapping_(std::exchange(other.mapping_, nullptr)),
      mapped_(other.mapped_),
      bytes_(other.bytes_) {}

void FreshMemory::touch() const noexcept {
  for (std::size_t offset = 0; offset < bytes_.size(); offset += kPage) {
    // Volatile: the store is the purpose.
    *static_cast<volatile std::byte*>(&bytes_[offset]) = std::byte{1};
  }
}

void FreshMemory::touch_for_reading() const noexcept {
  for (std::size_t offset = 0; offset < bytes_.size(); offset += kPage) {
    static_cast<void>(*static_cast<volatile std::byte*>(&bytes_[offset]));
  }
}

}  // namespace stasis::experiments
