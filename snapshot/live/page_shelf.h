// A bounded store for copies of pages. Private to snapshot/live/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/mutex.h"
#include "core/result.h"

namespace stasis::snapshot::internal {

// Resource. Thread-safe. What was never used costs address space only.
class PageShelf {
 public:
  // At least one page. kIo if there is no address space for it.
  static Result<PageShelf> create(std::uint64_t bytes, std::uint64_t page_size_bytes);
  ~PageShelf();
  PageShelf(PageShelf&& other) noexcept;
  PageShelf& operator=(PageShelf&&) = delete;
  PageShelf(const PageShelf&) = delete;
  PageShelf& operator=(const PageShelf&) = delete;

  // As many places, or nothing if there are not so many left.
  std::optional<std::vector<std::uint32_t>> reserve(std::size_t pages);
  // A place that is reserved; its owner's alone.
  [[nodiscard]] std::span<std::byte> at(std::uint32_t place) const;
  void give_back(std::uint32_t place);
  [[nodiscard]] std::uint64_t peak_bytes() const;

 private:
  PageShelf(std::byte* base, std::uint64_t pages, std::uint64_t page_size_bytes)
      : base_(base), pages_(pages), page_size_bytes_(page_size_bytes) {}

  // Constant after construction.
  std::byte* base_;
  std::uint64_t pages_;
  std::uint64_t page_size_bytes_;
  mutable Mutex mutex_;
  std::vector<std::uint32_t> returned_ STASIS_GUARDED_BY(mutex_);
  std::uint64_t untouched_ STASIS_GUARDED_BY(mutex_) = 0;  // The first place never used.
};

}  // namespace stasis::snapshot::internal
