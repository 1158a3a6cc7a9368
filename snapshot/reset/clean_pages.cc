#include "snapshot/reset/clean_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "core/text.h"
#include "snapshot/restore/fetcher.h"
#include "snapshot/restore/restorer.h"

namespace stasis::snapshot::internal {
namespace {

std::string text_of(std::uint64_t page_bytes, const std::vector<GpaRange>& regions) {
  std::string text = "pages of " + std::to_string(page_bytes) + " bytes at";
  for (const GpaRange& range : regions) {
    text += " " + describe(range);
  }
  return text;
}

Result<void> check_same_memory(const SnapshotChain& chain, const GuestMemory& memory) {
  const Manifest& manifest = chain.manifest();
  std::vector<GpaRange> saved;
  for (const ManifestRegion& region : manifest.regions) {
    saved.push_back(region.range);
  }
  std::vector<GpaRange> present;
  for (const MemoryRegion& region : memory.regions()) {
    present.push_back(region.range);
  }
  if (saved == present && manifest.page_size_bytes == memory.page_size_bytes()) {
    return {};
  }
  return Error{Errc::kMismatch, 0,
               "the guest has memory of " + text_of(memory.page_size_bytes(), present) +
                   ", but the snapshot '" + chain.leaf().path() + "' of " +
                   text_of(manifest.page_size_bytes, saved) + "; restore it anew"};
}

}  // namespace

Result<CleanPages::Space> CleanPages::Space::reserve(std::uint64_t size_bytes) {
  void* const base = ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    return errno_error(
        errno, "reserve " + std::to_string(size_bytes) + " bytes of address space for clean pages");
  }
  // One chunk must not take the memory of 2 MiB.
  (void)::madvise(base, size_bytes, MADV_NOHUGEPAGE);
  return Space(static_cast<std::byte*>(base), size_bytes);
}

CleanPages::Space::Space(Space&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)), size_bytes_(other.size_bytes_) {}

CleanPages::Space::~Space() {
  if (base_ != nullptr) {
    ::munmap(base_, size_bytes_);
  }
}

Result<std::unique_ptr<CleanPages>> CleanPages::open(const SnapshotChain& chain,
                                                     GuestMemory& memory) {
  STASIS_TRY(check_same_memory(chain, memory));
  std::vector<SourceExtent> sources = plan_input(chain).extents;
  STASIS_ASSIGN(StoredPages stored, StoredPages::open(chain, sources, Verify::kOn));
  std::unique_ptr<CleanPages> clean(
      new CleanPages(std::move(stored), std::move(sources), memory.page_size_bytes()));
  for (const MemoryRegion& region : memory.regions()) {
    STASIS_ASSIGN(Space space, Space::reserve(region.range.size));
    clean->regions_.push_back(
        {region.range, region.host, std::move(space),
         std::vector<Page>(region.range.size / memory.page_size_bytes(), Page::kUnknown)});
  }
  return clean;
}

Result<void> CleanPages::hold(const GpaRanges& ranges) {
  for (Region& region : regions_) {
    for (const GpaRange& range : intersect(ranges, {region.range})) {
      std::uint64_t page = (range.begin.value - region.range.begin.value) / page_bytes_;
      const std::uint64_t end = page + range.size / page_bytes_;
      for (; page < end; ++page) {
        if (region.pages[page] == Page::kUnknown) {
          STASIS_TRY(learn(region, region.range.begin + page * page_bytes_));
        }
      }
    }
  }
  return {};
}

Result<void> CleanPages::learn(Region& region, Gpa gpa) {
  const SourceExtent* const source = source_of(sources_, gpa);
  STASIS_CHECK(source != nullptr);  // Extents cover every byte of every region.
  const bool zero = source->extent.kind == ExtentKind::kZero;
  const GpaRange range = zero ? source->range : stored_.whole_chunk(*source, gpa);
  const std::uint64_t offset = range.begin.value - region.range.begin.value;
  if (!zero) {
    STASIS_TRY(
        stored_.read(*source, range, {region.clean.at(offset), range.size}, nullptr, scratch_));
    read_bytes_ += range.size;
  }
  std::fill_n(region.pages.begin() + static_cast<std::ptrdiff_t>(offset / page_bytes_),
              range.size / page_bytes_, zero ? Page::kZero : Page::kHeld);
  return {};
}

CleanPages::Written CleanPages::put_back(const GpaRanges& ranges) {
  Written written;
  for (const Region& region : regions_) {
    for (const GpaRange& range : intersect(ranges, {region.range})) {
      put_back(region, range, written);
    }
  }
  return written;
}

void CleanPages::put_back(const Region& region, GpaRange range, Written& written) const {
  const std::uint64_t first = (range.begin.value - region.range.begin.value) / page_bytes_;
  const std::uint64_t end = first + range.size / page_bytes_;
  for (std::uint64_t page = first; page < end;) {
    const Page kind = region.pages[page];
    STASIS_CHECK(kind != Page::kUnknown);
    const std::uint64_t run = page;
    while (page < end && region.pages[page] == kind) {
      ++page;
    }
    const std::uint64_t offset = run * page_bytes_;
    const std::uint64_t bytes = (page - run) * page_bytes_;
    if (kind == Page::kZero) {
      std::memset(region.guest + offset, 0, bytes);
      written.zeroed_bytes += bytes;
    } else {
      std::memcpy(region.guest + offset, region.clean.at(offset), bytes);
      written.copied_bytes += bytes;
    }
  }
}

}  // namespace stasis::snapshot::internal
