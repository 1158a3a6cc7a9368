#include "kvm/memory_slots.h"

#include <algorithm>
#include <string>
#include <utility>

#include "kvm/x86_transfer.h"

namespace stasis::kvm {
namespace {

constexpr std::size_t kFailed = SIZE_MAX;
// Room for the slots that KVM makes for itself.
constexpr std::uint32_t kSlotsReserved = 8;

// Chunks end at multiples of their size, so that each can use the largest pages inside.
void split(const MemoryRegion& region, std::uint64_t chunk_bytes, std::vector<MemorySlot>& slots) {
  Gpa begin = region.range.begin;
  while (begin < region.range.end()) {
    const std::uint64_t boundary = align_down(begin.value, chunk_bytes) + chunk_bytes;
    const std::uint64_t end = std::min(boundary, region.range.end().value);
    slots.push_back({static_cast<std::uint32_t>(slots.size()), GpaRange{begin, end - begin.value},
                     region.host + (begin.value - region.range.begin.value)});
    begin = Gpa{end};
  }
}

}  // namespace

MemorySlots::~MemorySlots() {
  stop_.store(true, std::memory_order_relaxed);
  background_.join();
}

Result<void> MemorySlots::add(GuestMemory& memory, std::uint32_t flags, Deferral deferral,
                              SlotSizes sizes) {
  flags_ = flags;
  const std::span<const MemoryRegion> regions = memory.regions();
  std::size_t at_once = 0;
  if (deferral == Deferral::kAllowed) {
    // The kernel's number of slots is limited: larger guests get larger chunks.
    std::uint64_t chunk_bytes = sizes.chunk_bytes;
    const std::uint64_t chunks_max = std::min<std::uint64_t>(slots_max_ / 2, 256);
    while (memory.size_bytes() / chunk_bytes + 2 * regions.size() > chunks_max &&
           chunk_bytes < (std::uint64_t{1} << 40U)) {
      chunk_bytes *= 2;
    }
    for (const MemoryRegion& region : regions) {
      MemoryRegion rest = region;
      if (slots_.empty() && region.range.size > sizes.first_window_bytes) {
        MemoryRegion window = region;
        window.range.size = sizes.first_window_bytes;
        split(window, UINT64_C(1) << 63U, slots_);
        rest.range = GpaRange{window.range.end(), region.range.size - window.range.size};
        rest.host += window.range.size;
      }
      split(rest, chunk_bytes, slots_);
      at_once = 1;
    }
  } else {
    for (const MemoryRegion& region : regions) {
      split(region, UINT64_C(1) << 63U, slots_);
    }
    at_once = slots_.size();
  }
  if (slots_.size() + kSlotsReserved > slots_max_) {
    return Error{Errc::kNotSupported, 0,
                 "guest RAM has " + std::to_string(regions.size()) +
                     " regions, but this KVM has only " + std::to_string(slots_max_) +
                     " memory slots: use fewer regions"};
  }
  for (std::size_t i = 0; i < at_once; ++i) {
    STASIS_TRY(register_slot(slots_[i], flags_));
  }
  registered_.store(at_once, std::memory_order_release);
  if (at_once < slots_.size()) {
    STASIS_ASSIGN(background_, HostThread::start("the thread that registers guest RAM",
                                                 [this] { register_deferred(); }));
  }
  return {};
}

void MemorySlots::register_deferred() {
  for (std::size_t i = registered_.load(std::memory_order_relaxed); i < slots_.size(); ++i) {
    if (stop_.load(std::memory_order_relaxed)) {
      return;
    }
    if (before_deferred_) {
      before_deferred_(slots_[i].range);
    }
    auto outcome = register_slot(slots_[i], flags_);
    if (!outcome) {
      {
        const MutexLock lock(mutex_);
        outcome_ = std::move(outcome);
      }
      registered_.store(kFailed, std::memory_order_release);
      registered_.notify_all();
      return;
    }
    registered_.store(i + 1, std::memory_order_release);
    registered_.notify_all();
  }
}

Result<void> MemorySlots::register_slot(const MemorySlot& slot, std::uint32_t flags) const {
  kvm_userspace_memory_region region{};
  region.slot = slot.id;
  region.flags = flags;
  region.guest_phys_addr = slot.range.begin.value;
  region.memory_size = slot.range.size;
  region.userspace_addr = reinterpret_cast<std::uintptr_t>(slot.host);  // NOLINT: the kernel's type
  auto outcome = vm_.apply(kSetUserMemoryRegion, &region);
  if (!outcome) {
    return std::move(outcome).error().with_context("guest RAM " + hex(slot.range.begin.value) +
                                                   " + " + hex(slot.range.size));
  }
  return {};
}

Result<void> MemorySlots::wait_until(std::size_t count) {
  std::size_t seen = registered_.load(std::memory_order_acquire);
  while (seen < count) {
    registered_.wait(seen, std::memory_order_acquire);
    seen = registered_.load(std::memory_order_acquire);
  }
  if (seen == kFailed) {
    const MutexLock lock(mutex_);
    return outcome_;
  }
  return {};
}

Result<void> MemorySlots::wait_all() {
  return wait_until(slots_.size());
}

Result<void> MemorySlots::wait_for(Gpa gpa) {
  const MemorySlot* slot = find(gpa);
  STASIS_CHECK(slot != nullptr);
  return wait_until(slot->id + std::size_t{1});
}

const MemorySlot* MemorySlots::find(Gpa gpa) const noexcept {
  auto after = std::upper_bound(
      slots_.begin(), slots_.end(), gpa,
      [](Gpa address, const MemorySlot& slot) { return address < slot.range.begin; });
  if (after == slots_.begin()) {
    return nullptr;
  }
  --after;
  return after->range.contains(gpa) ? &*after : nullptr;
}

std::span<std::byte> MemorySlots::host_bytes(Gpa gpa, std::uint64_t bytes) const noexcept {
  const MemorySlot* slot = find(gpa);
  if (slot == nullptr) {
    return {};
  }
  const std::uint64_t offset = gpa.value - slot->range.begin.value;
  if (!fits(offset, bytes, slot->range.size)) {
    return {};
  }
  return {slot->host + offset, bytes};
}

Gpa MemorySlots::first_pending() const noexcept {
  const std::size_t registered = registered_.load(std::memory_order_acquire);
  return registered < slots_.size() ? slots_[registered].range.begin : Gpa{UINT64_MAX};
}

Result<void> MemorySlots::set_flags(std::uint32_t flags) {
  STASIS_TRY(wait_all());
  for (const MemorySlot& slot : slots_) {
    STASIS_TRY(register_slot(slot, flags));
  }
  flags_ = flags;
  return {};
}

}  // namespace stasis::kvm
