#include "snapshot/live/page_shelf.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace stasis::snapshot::internal {

Result<PageShelf> PageShelf::create(std::uint64_t bytes, std::uint64_t page_size_bytes) {
  const std::uint64_t pages =
      std::clamp<std::uint64_t>(bytes / page_size_bytes, 1, std::uint64_t{UINT32_MAX});
  void* const base = ::mmap(nullptr, pages * page_size_bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    return errno_error(errno, "live capture: a buffer of " + std::to_string(bytes >> 20U) +
                                  " MiB for overwritten pages");
  }
  return PageShelf(static_cast<std::byte*>(base), pages, page_size_bytes);
}

PageShelf::~PageShelf() {
  if (base_ != nullptr) {
    ::munmap(base_, pages_ * page_size_bytes_);
  }
}

PageShelf::PageShelf(PageShelf&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      pages_(other.pages_),
      page_size_bytes_(other.page_size_bytes_) {
  // Moved before anybody else knows it.
  const MutexLock lock(other.mutex_);
  const MutexLock own(mutex_);
  // NOLINTBEGIN(cppcoreguidelines-prefer-member-initializer): under the locks.
  returned_ = std::move(other.returned_);
  untouched_ = other.untouched_;
  // NOLINTEND(cppcoreguidelines-prefer-member-initializer)
}

std::optional<std::vector<std::uint32_t>> PageShelf::reserve(std::size_t pages) {
  const MutexLock lock(mutex_);
  if (returned_.size() + (pages_ - untouched_) < pages) {
    return std::nullopt;
  }
  std::vector<std::uint32_t> places;
  places.reserve(pages);
  while (places.size() < pages) {
    if (returned_.empty()) {
      places.push_back(static_cast<std::uint32_t>(untouched_++));
    } else {
      places.push_back(returned_.back());
      returned_.pop_back();
    }
  }
  return places;
}

std::span<std::byte> PageShelf::at(std::uint32_t place) const {
  return {base_ + place * page_size_bytes_, page_size_bytes_};
}

void PageShelf::give_back(std::uint32_t place) {
  const MutexLock lock(mutex_);
  returned_.push_back(place);
}

std::uint64_t PageShelf::peak_bytes() const {
  const MutexLock lock(mutex_);
  return untouched_ * page_size_bytes_;
}

}  // namespace stasis::snapshot::internal
