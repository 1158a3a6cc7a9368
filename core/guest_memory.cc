#include "core/guest_memory.h"

#include <algorithm>
#include <bit>
#include <string>
#include <thread>
#include <utility>

#include "core/guest_atomics.h"
#include "core/host_mapping.h"
#include "core/text.h"

namespace stasis {
namespace {

Error invalid(const RegionSpec& spec, std::string_view why) {
  return Error{Errc::kInvalidArgument, 0,
               "guest memory " + describe(spec.range) + ": " + std::string(why)};
}

Error out_of_range(GpaRange range) {
  return Error{Errc::kOutOfRange, 0,
               "guest-physical range " + describe(range) + " is not guest memory"};
}

Result<void> check_spec(const RegionSpec& spec, std::uint64_t page_size_bytes) {
  const auto [begin, size] = std::pair(spec.range.begin.value, spec.range.size);
  if (size == 0) {
    return invalid(spec, "a region must not be empty");
  }
  if (!is_aligned(begin, page_size_bytes) || !is_aligned(size, page_size_bytes)) {
    return invalid(spec, "begin and size must be multiples of the page size of " +
                             std::to_string(page_size_bytes) + " bytes");
  }
  if (!make_range(spec.range.begin, size)) {
    return invalid(spec, "the range wraps around the address space");
  }
  const bool is_file =
      spec.backing == BackingKind::kPrivateFile || spec.backing == BackingKind::kSharedFile;
  if (is_file && spec.file.fd < 0) {
    return invalid(spec, "a file backing needs an open file descriptor");
  }
  if (is_file && !is_aligned(spec.file.offset, internal::host_page_size_bytes())) {
    return invalid(spec, "the file offset must be a multiple of the host's page size");
  }
  if (spec.huge_pages == HugePages::kHugetlb &&
      (is_file || !is_aligned(begin, internal::kHugePageBytes) ||
       !is_aligned(size, internal::kHugePageBytes))) {
    return invalid(spec, "reserved huge pages need 2 MiB multiples and no file behind them");
  }
  if (is_file) {
    STASIS_TRY(internal::check_file_covers(spec.file, size));
  }
  return {};
}

Result<std::vector<RegionSpec>> check_specs(std::span<const RegionSpec> specs,
                                            std::uint64_t page_size_bytes) {
  if (!std::has_single_bit(page_size_bytes) ||
      page_size_bytes % internal::host_page_size_bytes() != 0) {
    return Error{Errc::kInvalidArgument, 0,
                 "guest memory: the page size of " + std::to_string(page_size_bytes) +
                     " bytes is not a power of two times the host's page size of " +
                     std::to_string(internal::host_page_size_bytes())};
  }
  if (specs.empty()) {
    return Error{Errc::kInvalidArgument, 0, "guest memory: at least one region is needed"};
  }
  std::vector<RegionSpec> sorted(specs.begin(), specs.end());
  std::sort(sorted.begin(), sorted.end(),
            [](const RegionSpec& a, const RegionSpec& b) { return a.range.begin < b.range.begin; });
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    STASIS_TRY(check_spec(sorted[i], page_size_bytes));
    if (i > 0 && sorted[i].range.begin < sorted[i - 1].range.end()) {
      return invalid(sorted[i], "overlaps " + describe(sorted[i - 1].range));
    }
  }
  return sorted;
}

std::vector<GpaRange> ranges_of(std::span<const MemoryRegion> regions) {
  std::vector<GpaRange> ranges;
  ranges.reserve(regions.size());
  for (const MemoryRegion& region : regions) {
    ranges.push_back(region.range);
  }
  return ranges;
}

// Unmaps what was mapped so far when a later region fails.
class MappedRegions {
 public:
  MappedRegions() = default;
  MappedRegions(const MappedRegions&) = delete;
  MappedRegions& operator=(const MappedRegions&) = delete;
  ~MappedRegions() {
    for (const MemoryRegion& region : regions_) {
      internal::unmap_region(region);
    }
  }
  void add(const MemoryRegion& region) { regions_.push_back(region); }
  std::vector<MemoryRegion> release() { return std::exchange(regions_, {}); }

 private:
  std::vector<MemoryRegion> regions_;
};

}  // namespace

std::string_view name_of(BackingKind kind) {
  switch (kind) {
    case BackingKind::kAnonymous:
      return "anonymous";
    case BackingKind::kMemfd:
      return "memfd";
    case BackingKind::kPrivateFile:
      return "private_file";
    case BackingKind::kSharedFile:
      return "shared_file";
  }
  return "unknown backing";
}

std::string_view name_of(HugePages huge_pages) {
  switch (huge_pages) {
    case HugePages::kNever:
      return "never";
    case HugePages::kTransparent:
      return "transparent";
    case HugePages::kHugetlb:
      return "hugetlb";
  }
  return "unknown huge pages";
}

Result<std::unique_ptr<GuestMemory>> GuestMemory::create(std::span<const RegionSpec> specs,
                                                         std::uint64_t page_size_bytes) {
  STASIS_ASSIGN(const std::vector<RegionSpec> sorted, check_specs(specs, page_size_bytes));
  MappedRegions mapped;
  for (const RegionSpec& spec : sorted) {
    STASIS_ASSIGN(const MemoryRegion region, internal::map_region(spec));
    mapped.add(region);
  }
  std::unique_ptr<GuestMemory> memory(new GuestMemory(mapped.release(), page_size_bytes));
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    if (sorted[i].file.fd >= 0) {
      STASIS_TRY(memory->guard(memory->regions_[i], sorted[i].file, sorted[i].range.size));
    }
  }
  return memory;
}

GuestMemory::GuestMemory(std::vector<MemoryRegion> regions, std::uint64_t page_size_bytes)
    : regions_(std::move(regions)),
      page_size_bytes_(page_size_bytes),
      size_bytes_(total_bytes(ranges_of(regions_))),
      guards_(regions_.size()),
      host_writes_(ranges_of(regions_), page_size_bytes) {}

GuestMemory::~GuestMemory() {
  provider_.reset();
  guards_.clear();
  for (const MemoryRegion& region : regions_) {
    internal::unmap_region(region);
  }
}

GpaRanges GuestMemory::ranges() const {
  return normalize(ranges_of(regions_));
}

const MemoryRegion* GuestMemory::find(Gpa gpa) const noexcept {
  const auto after =
      std::upper_bound(regions_.begin(), regions_.end(), gpa,
                       [](Gpa g, const MemoryRegion& region) { return g < region.range.begin; });
  if (after == regions_.begin() || !std::prev(after)->range.contains(gpa)) {
    return nullptr;
  }
  return &*std::prev(after);
}

Result<std::span<const std::byte>> GuestMemory::view(GpaRange range) const {
  const MemoryRegion* region = find(range.begin);
  if (region == nullptr ||
      !fits(range.begin.value - region->range.begin.value, range.size, region->range.size)) {
    return out_of_range(range);
  }
  return std::span<const std::byte>(region->host + (range.begin.value - region->range.begin.value),
                                    range.size);
}

Result<std::span<std::byte>> GuestMemory::writable_view(GpaRange range) {
  STASIS_ASSIGN(const std::span<const std::byte> bytes, view(range));
  const MemoryRegion* region = find(range.begin);
  return std::span<std::byte>(region->host + (range.begin.value - region->range.begin.value),
                              bytes.size());
}

template <typename Visit>
Result<void> GuestMemory::for_each_piece(GpaRange range, Visit visit) const {
  // First check all, then touch: a copy that fails has changed nothing.
  for (const bool touch : {false, true}) {
    std::uint64_t done = 0;
    while (done < range.size) {
      const Gpa at{range.begin.value + done};
      const MemoryRegion* region = done <= UINT64_MAX - range.begin.value ? find(at) : nullptr;
      if (region == nullptr) {
        return out_of_range(range);
      }
      const std::uint64_t offset = at.value - region->range.begin.value;
      const std::uint64_t size = std::min(range.size - done, region->range.size - offset);
      if (touch) {
        visit(region->host + offset, size);
      }
      done += size;
    }
  }
  return {};
}

Result<void> GuestMemory::read(Gpa gpa, std::span<std::byte> out) const {
  std::byte* to = out.data();
  STASIS_TRY(for_each_piece({gpa, out.size()}, [&](std::byte* host, std::uint64_t size) {
    std::memcpy(to, host, size);
    to += size;
  }));
  return check_intact();
}

Result<void> GuestMemory::set_write_guard(HostWriteGuard& guard) {
  HostWriteGuard* none = nullptr;
  if (!write_guard_.compare_exchange_strong(none, &guard)) {
    return Error{Errc::kInvalidArgument, 0,
                 "guest memory has a guard against writes already: a live capture runs; let it end "
                 "first"};
  }
  return {};
}

void GuestMemory::remove_write_guard() noexcept {
  write_guard_.store(nullptr);
  while (guard_callers_.load() != 0) {
    std::this_thread::yield();
  }
}

void GuestMemory::ask_write_guard(GpaRange range) {
  if (write_guard_.load() == nullptr) {
    return;
  }
  guard_callers_.fetch_add(1);
  if (HostWriteGuard* const guard = write_guard_.load(); guard != nullptr) {
    guard->before_host_write(range);
  }
  guard_callers_.fetch_sub(1);
}

template <typename Visit>
Result<void> GuestMemory::write_pieces(GpaRange range, Visit visit) {
  // Of all of it or, if it is not all RAM, of nothing.
  STASIS_TRY(for_each_piece(range, [](std::byte*, std::uint64_t) {}));
  ask_write_guard(range);
  STASIS_TRY(for_each_piece(range, visit));
  // After the copy: a page that is collected in between counts again, it is never lost.
  host_writes_.mark(range);
  return check_intact();
}

Result<void> GuestMemory::write(Gpa gpa, std::span<const std::byte> bytes) {
  const std::byte* from = bytes.data();
  return write_pieces({gpa, bytes.size()}, [&](std::byte* host, std::uint64_t size) {
    std::memcpy(host, from, size);
    from += size;
  });
}

Result<void> GuestMemory::store_release(Gpa gpa, std::uint64_t value) {
  if (!is_aligned(gpa.value, sizeof(value))) {
    return Error{Errc::kInvalidArgument, 0, "an atomic store to unaligned " + hex(gpa.value)};
  }
  // Aligned, so that it is one piece: regions are whole pages.
  return write_pieces({gpa, sizeof(value)}, [value](std::byte* host, std::uint64_t) {
    internal::store_release<std::uint64_t>(host, value);
  });
}

Result<void> GuestMemory::check_intact() const {
  for (const FileLossGuard& guard : guards_) {
    STASIS_TRY(guard.check("guest memory"));
  }
  return provider_ == nullptr ? Result<void>() : provider_->check();
}

void GuestMemory::attach(std::unique_ptr<PageProvider> provider) {
  STASIS_CHECK(provider_ == nullptr);
  provider_ = std::move(provider);
}

Result<void> GuestMemory::provide_all() {
  return provider_ == nullptr ? Result<void>() : provider_->provide_all();
}

void GuestMemory::on_failure(std::function<void()> called) {
  if (provider_ != nullptr) {
    provider_->on_failure(std::move(called));
  }
}

Result<void> GuestMemory::check_files() const {
  STASIS_TRY(check_intact());
  for (const internal::MappedFile& file : files_) {
    STASIS_TRY(internal::check_length(file));
  }
  return {};
}

Result<void> GuestMemory::guard(const MemoryRegion& region, FileSource file,
                                std::uint64_t size_bytes) {
  STASIS_TRY(internal::remember_length(file, size_bytes, files_));
  FileLossGuard& guard = guards_[static_cast<std::size_t>(&region - regions_.data())];
  if (guard.is_watching()) {
    return {};
  }
  return guard.watch(region.host, region.range.size);
}

Result<const MemoryRegion*> GuestMemory::replaceable(GpaRange range) const {
  const MemoryRegion* region = find(range.begin);
  if (region == nullptr ||
      !fits(range.begin.value - region->range.begin.value, range.size, region->range.size)) {
    return out_of_range(range);
  }
  const std::uint64_t unit = region->huge_pages == HugePages::kHugetlb
                                 ? internal::kHugePageBytes
                                 : internal::host_page_size_bytes();
  if (range.size == 0 || !is_aligned(range.begin.value, unit) || !is_aligned(range.size, unit)) {
    return Error{Errc::kInvalidArgument, 0,
                 "replace guest memory " + describe(range) + ": must be a multiple of " +
                     std::to_string(unit) + " bytes and not empty"};
  }
  return region;
}

Result<void> GuestMemory::overlay_file(GpaRange range, FileSource file) {
  STASIS_ASSIGN(const MemoryRegion* const region, replaceable(range));
  if ((region->backing != BackingKind::kAnonymous &&
       region->backing != BackingKind::kPrivateFile) ||
      region->huge_pages == HugePages::kHugetlb) {
    return Error{Errc::kNotSupported, 0,
                 "map a file over guest memory " + describe(range) + ": the region's backing is " +
                     std::string(name_of(region->backing)) + " with huge pages " +
                     std::string(name_of(region->huge_pages)) +
                     "; use anonymous or private_file without hugetlb"};
  }
  if (file.fd < 0 || !is_aligned(file.offset, internal::host_page_size_bytes())) {
    return Error{Errc::kInvalidArgument, 0,
                 "map a file over guest memory " + describe(range) +
                     ": needs an open file and a page-multiple offset"};
  }
  STASIS_TRY(guard(*region, file, range.size));
  return internal::map_file_over(*region, range.begin.value - region->range.begin.value, range.size,
                                 file);
}

Result<void> GuestMemory::replace_with_zero(GpaRange range) {
  STASIS_ASSIGN(const MemoryRegion* const region, replaceable(range));
  if (region->backing == BackingKind::kSharedFile) {
    return Error{Errc::kNotSupported, 0,
                 "zero guest memory " + describe(range) + ": a shared file cannot be replaced"};
  }
  return internal::map_zero_over(*region, range.begin.value - region->range.begin.value,
                                 range.size);
}

Result<void> GuestMemory::populate(const PopulatePiece& piece) {
  const std::uint64_t unit = internal::host_page_size_bytes();
  if (piece.range.size == 0 || !is_aligned(piece.range.begin.value, unit) ||
      !is_aligned(piece.range.size, unit)) {
    return out_of_range(piece.range);
  }
  STASIS_ASSIGN(const std::span<std::byte> bytes, writable_view(piece.range));
  internal::populate(bytes, piece.access);
  return {};
}

}  // namespace stasis
