// What a snapshot says that guest memory holds, ready to be put back again and again. Private to
// snapshot/reset/.
//
// A chunk of the snapshot is read, decompressed and compared with its checksum when a page of it is
// wanted for the first time, and kept: from then on a page costs a copy, whatever the layout, the
// codec and the length of the chain (decision 0048).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/guest_memory.h"
#include "core/ranges.h"
#include "core/result.h"
#include "snapshot/restore/chunk_cache.h"
#include "snapshot/restore/plan.h"
#include "snapshot/snapshot_chain.h"

namespace stasis::snapshot::internal {

// Takes as much memory as the chunks that were wanted, at most that of the guest. Not thread-safe.
class CleanPages {
 public:
  // Reads the chunk tables. Shares `chain`; borrows `memory`. kMismatch, naming both, unless
  // regions and page size are those of the snapshot; kIo, kCorruption (an index); kIo if the host
  // cannot reserve the address space.
  static Result<std::unique_ptr<CleanPages>> open(const SnapshotChain& chain, GuestMemory& memory);

  // Reads what of `ranges`, whole pages of the guest, is not held yet. Guest memory is not touched.
  // kIo and kCorruption name the file, its offset and the guest address; what was held stays so.
  Result<void> hold(const GpaRanges& ranges);

  // Value.
  struct Written {
    std::uint64_t copied_bytes = 0;
    std::uint64_t zeroed_bytes = 0;
  };
  // Overwrites `ranges` of guest memory, all of them held, and nothing else.
  Written put_back(const GpaRanges& ranges);

  // Since open().
  [[nodiscard]] std::uint64_t read_bytes() const noexcept { return read_bytes_; }

 private:
  enum class Page : std::uint8_t { kUnknown, kZero, kHeld };

  // Address space as long as a region.
  class Space {
   public:
    static Result<Space> reserve(std::uint64_t size_bytes);
    Space(Space&& other) noexcept;
    ~Space();
    Space(const Space&) = delete;
    Space& operator=(const Space&) = delete;
    Space& operator=(Space&&) = delete;
    [[nodiscard]] std::byte* at(std::uint64_t offset) const { return base_ + offset; }

   private:
    Space(std::byte* base, std::uint64_t size_bytes) : base_(base), size_bytes_(size_bytes) {}
    std::byte* base_;
    std::uint64_t size_bytes_;
  };
  struct Region {
    GpaRange range;
    std::byte* guest = nullptr;
    Space clean;  // Of its pages, those that are kHeld.
    std::vector<Page> pages;
  };

  CleanPages(StoredPages stored, std::vector<SourceExtent> sources, std::uint64_t page_bytes)
      : stored_(std::move(stored)), sources_(std::move(sources)), page_bytes_(page_bytes) {}
  // What is known of the page at `gpa`, and of its neighbours with it.
  Result<void> learn(Region& region, Gpa gpa);
  void put_back(const Region& region, GpaRange range, Written& written) const;

  const StoredPages stored_;
  const std::vector<SourceExtent> sources_;  // In address order.
  const std::uint64_t page_bytes_;
  std::vector<Region> regions_;
  ReadScratch scratch_;
  std::uint64_t read_bytes_ = 0;
};

}  // namespace stasis::snapshot::internal
