#include "mock/toy_memory.h"

#include <algorithm>
#include <bit>
#include <type_traits>

#include "core/check.h"
#include "core/guest_atomics.h"

namespace stasis::mock {
namespace {

using stasis::internal::load_acquire;
using stasis::internal::store_release;

static_assert(std::endian::native == std::endian::little);

bool allows(Access access, Intent intent) {
  switch (intent) {
    case Intent::kFetch:
      return access == Access::kReadExecute || access == Access::kReadWriteExecute;
    case Intent::kRead:
      return access != Access::kNone;
    case Intent::kWrite:
      return access == Access::kReadWrite || access == Access::kReadWriteExecute;
  }
  return false;
}

// Calls visit(std::type_identity<T>) with the unsigned type of `width_bytes`, if `gpa` is aligned
// for it.
template <typename Visit>
bool with_unit(Gpa gpa, std::uint8_t width_bytes, Visit visit) {
  if (!std::has_single_bit(width_bytes) || !is_aligned(gpa.value, width_bytes)) {
    return false;
  }
  switch (width_bytes) {
    case 1:
      visit(std::type_identity<std::uint8_t>{});
      return true;
    case 2:
      visit(std::type_identity<std::uint16_t>{});
      return true;
    case 4:
      visit(std::type_identity<std::uint32_t>{});
      return true;
    case 8:
      visit(std::type_identity<std::uint64_t>{});
      return true;
    default:
      return false;
  }
}

}  // namespace

ToyMemory::ToyMemory(GuestMemory& memory, Access access)
    : page_size_bytes_(memory.page_size_bytes()) {
  for (const MemoryRegion& region : memory.regions()) {
    const std::uint64_t pages = region.range.size / page_size_bytes_;
    regions_.push_back({region.range, region.host, std::make_unique<Page[]>(pages)});
    set_access(region.range, access);
  }
}

const ToyMemory::Region* ToyMemory::find(Gpa gpa) const {
  for (const Region& region : regions_) {
    if (region.range.contains(gpa)) {
      return &region;
    }
  }
  return nullptr;
}

ToyMemory::Page* ToyMemory::page_of(Gpa gpa) const {
  const Region* region = find(gpa);
  return region == nullptr
             ? nullptr
             : &region->pages[(gpa.value - region->range.begin.value) / page_size_bytes_];
}

std::byte* ToyMemory::host_of(Gpa gpa) const {
  const Region* region = find(gpa);
  STASIS_CHECK(region != nullptr);
  return region->host + (gpa.value - region->range.begin.value);
}

Verdict ToyMemory::check(Gpa gpa, std::uint64_t size, Intent intent) const {
  if (!make_range(gpa, size)) {
    return {Obstacle::kPartlyRam, gpa};
  }
  const Gpa last = gpa + (size - 1);
  if (find(gpa) == nullptr && find(last) == nullptr) {
    return {Obstacle::kNotRam, gpa};
  }
  if (find(gpa) == nullptr || find(last) == nullptr) {
    return {Obstacle::kPartlyRam, gpa};
  }
  // At most 8 bytes: at most two pages, the one of the first byte and the one of the last.
  const Gpa last_page{std::max(gpa.value, align_down(last.value, page_size_bytes_))};
  for (const Gpa at : {gpa, last_page}) {
    // Pairs with set_access(): what was done to the bytes before permission came back is done.
    const Access access = page_of(at)->access.load(std::memory_order_acquire);
    if (access == Access::kNone) {
      return {Obstacle::kMissing, at};
    }
    if (!allows(access, intent)) {
      return {intent == Intent::kWrite ? Obstacle::kWriteProtected : Obstacle::kNotExecutable, at};
    }
  }
  return {};
}

std::uint64_t ToyMemory::load(Gpa gpa, std::uint8_t width_bytes) const {
  std::uint64_t value = 0;
  const bool is_unit = with_unit(gpa, width_bytes, [&]<typename T>(std::type_identity<T>) {
    value = load_acquire<T>(host_of(gpa));
  });
  for (std::uint8_t i = 0; !is_unit && i < width_bytes; ++i) {
    const auto byte = load_acquire<std::uint8_t>(host_of(gpa + i));
    value |= std::uint64_t{byte} << (8 * i);
  }
  return value;
}

void ToyMemory::store(Gpa gpa, std::uint8_t width_bytes, std::uint64_t value) {
  mark_dirty(gpa, width_bytes);
  const bool is_unit = with_unit(gpa, width_bytes, [&]<typename T>(std::type_identity<T>) {
    store_release<T>(host_of(gpa), static_cast<T>(value));
  });
  for (std::uint8_t i = 0; !is_unit && i < width_bytes; ++i) {
    store_release<std::uint8_t>(host_of(gpa + i), static_cast<std::uint8_t>(value >> (8 * i)));
  }
}

std::uint64_t ToyMemory::fetch_add(Gpa gpa, std::uint64_t addend) {
  mark_dirty(gpa, sizeof(addend));
  return stasis::internal::fetch_add(host_of(gpa), addend);
}

std::uint64_t ToyMemory::compare_exchange(Gpa gpa, std::uint64_t expected, std::uint64_t desired) {
  // Dirty even when the comparison fails: like x86 CMPXCHG, which always writes (SDM vol. 2A).
  mark_dirty(gpa, sizeof(desired));
  return stasis::internal::compare_exchange(host_of(gpa), expected, desired);
}

bool ToyMemory::is_ram(GpaRange range) const {
  const Region* region = find(range.begin);
  return region != nullptr &&
         fits(range.begin.value - region->range.begin.value, range.size, region->range.size);
}

bool ToyMemory::would_take_away(GpaRange range, Access access) const {
  for (std::uint64_t at = 0; at < range.size; at += page_size_bytes_) {
    const Access now = page_of(range.begin + at)->access.load(std::memory_order_relaxed);
    for (const Intent intent : {Intent::kFetch, Intent::kRead, Intent::kWrite}) {
      if (allows(now, intent) && !allows(access, intent)) {
        return true;
      }
    }
  }
  return false;
}

void ToyMemory::set_access(GpaRange range, Access access) {
  for (std::uint64_t at = 0; at < range.size; at += page_size_bytes_) {
    page_of(range.begin + at)->access.store(access, std::memory_order_release);
  }
}

void ToyMemory::mark_dirty(Gpa gpa, std::uint64_t size) {
  if (is_logging()) {
    page_of(gpa)->dirty.store(true, std::memory_order_relaxed);
    page_of(gpa + (size - 1))->dirty.store(true, std::memory_order_relaxed);
  }
}

void ToyMemory::start_dirty_log() {
  collect_dirty_log();
  logging_.store(true, std::memory_order_relaxed);
}

void ToyMemory::stop_dirty_log() {
  logging_.store(false, std::memory_order_relaxed);
  collect_dirty_log();
}

GpaRanges ToyMemory::collect_dirty_log() {
  GpaRanges dirty;
  for (const Region& region : regions_) {
    const std::uint64_t pages = region.range.size / page_size_bytes_;
    for (std::uint64_t i = 0; i < pages; ++i) {
      if (region.pages[i].dirty.exchange(false, std::memory_order_relaxed)) {
        dirty.push_back({region.range.begin + i * page_size_bytes_, page_size_bytes_});
      }
    }
  }
  return normalize(std::move(dirty));
}

}  // namespace stasis::mock
