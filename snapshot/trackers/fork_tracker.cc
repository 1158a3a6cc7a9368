// Copy-on-write by fork: a child holds guest memory as it was, and what differs from that was
// written. Sees whoever writes, any number of bytes; a write of what was there before leaves a page
// clean, as for `compare`, whose copy of all memory it saves. Needs private memory: the pages of
// shared memory are the same in both processes for ever.
//
// Not every page is read. A page whose frame is the same in both processes has not been written
// since; neither has one that exists in neither, because nothing maps anything new into guest
// memory that is tracked. Who may not know the frames' numbers compares all pages that exist.
//
// A fork protects every page of this process's private memory, and with them KVM's translations of
// guest memory (it is told so by its MMU notifier); the first write to each page costs a copy. The
// child has no part in the VM: memory slots belong to the address space that made them.
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/text.h"
#include "snapshot/linux/frozen_copy.h"
#include "snapshot/linux/pagemap.h"
#include "snapshot/trackers/armed_state.h"
#include "snapshot/trackers/host_ranges.h"
#include "snapshot/trackers/tracker_factories.h"

namespace stasis::snapshot::internal {
namespace {

constexpr std::size_t kEntries = 512;

class ForkTracker final : public DirtyTracker {
 public:
  ForkTracker(GuestMemory& memory, Pagemap pagemap)
      : memory_(memory),
        pagemap_(std::move(pagemap)),
        host_page_bytes_(static_cast<std::size_t>(::sysconf(_SC_PAGESIZE))),
        buffer_(kEntries * host_page_bytes_),
        traits_{"fork", true, true, memory.page_size_bytes()} {}

  [[nodiscard]] const TrackerTraits& traits() const override { return traits_; }

  Result<void> arm() override {
    STASIS_TRY(state_.check_can_arm());
    STASIS_ASSIGN(FrozenCopy copy, FrozenCopy::take());
    before_.emplace(std::move(copy));
    state_.set(true);
    return {};
  }

  // If anything fails the old copy stays, and the next collection is of all that differs from it.
  Result<GpaRanges> collect() override {
    STASIS_TRY(state_.check_can_collect());
    GpaRanges dirty;
    STASIS_ASSIGN(const Pagemap theirs, Pagemap::open_of(before_->child()));
    for (const MemoryRegion& region : memory_.regions()) {
      HostRanges found;
      STASIS_TRY(find_different(theirs, host_bytes(region, region.range), found));
      dirty = unite(dirty, guest_pages(region, found, memory_.page_size_bytes()));
    }
    STASIS_TRY(memory_.check_intact());
    STASIS_ASSIGN(*before_, FrozenCopy::take());
    return dirty;
  }

  Result<void> disarm() override {
    before_.reset();
    state_.set(false);
    return {};
  }

  WriteFaultHandler* write_fault_handler() override { return nullptr; }

 private:
  // Whether a page may differ, from its entries here and there.
  static bool may_differ(std::uint64_t ours, std::uint64_t theirs) {
    if (!pagemap_entry::is_there(ours) && !pagemap_entry::is_there(theirs)) {
      return false;
    }
    const std::uint64_t frame = pagemap_entry::frame(ours);
    return frame == 0 || frame != pagemap_entry::frame(theirs);
  }

  Result<void> find_different(const Pagemap& theirs, std::span<std::byte> range,
                              HostRanges& found) {
    std::array<std::uint64_t, kEntries> here{};
    std::array<std::uint64_t, kEntries> there{};
    while (!range.empty()) {
      STASIS_ASSIGN(std::size_t count, pagemap_.read_entries(range, here));
      STASIS_ASSIGN(const std::size_t their_count, theirs.read_entries(range, there));
      count = std::min(count, their_count);
      for (std::size_t i = 0; i < count;) {
        std::size_t end = i;
        while (end < count && may_differ(here[end], there[end])) {
          ++end;
        }
        if (end > i) {
          STASIS_TRY(
              compare(range.subspan(i * host_page_bytes_, (end - i) * host_page_bytes_), found));
        }
        i = end + 1;
      }
      range = range.subspan(count * host_page_bytes_);
    }
    return {};
  }

  // `piece` is not longer than the buffer.
  Result<void> compare(std::span<std::byte> piece, HostRanges& found) {
    const std::span<std::byte> before = std::span(buffer_).first(piece.size());
    STASIS_TRY(before_->read(piece.data(), before));
    for (std::size_t at = 0; at < piece.size(); at += host_page_bytes_) {
      if (std::memcmp(piece.data() + at, before.data() + at, host_page_bytes_) != 0) {
        found.push_back(piece.subspan(at, host_page_bytes_));
      }
    }
    return {};
  }

  GuestMemory& memory_;
  Pagemap pagemap_;
  std::size_t host_page_bytes_;
  std::vector<std::byte> buffer_;
  TrackerTraits traits_;
  ArmedState state_;
  std::optional<FrozenCopy> before_;  // Since arm() or the last collect().
};

// What is written after a copy was taken is not in it.
Result<void> try_copy() {
  const auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::vector<std::byte> page(bytes, std::byte{1});
  STASIS_ASSIGN(const FrozenCopy copy, FrozenCopy::take());
  STASIS_ASSIGN(const Pagemap theirs, Pagemap::open_of(copy.child()));
  std::array<std::byte, 1> was{};
  page[0] = std::byte{2};
  STASIS_TRY(copy.read(page.data(), was));
  if (was[0] != std::byte{1}) {
    return Error{Errc::kNotSupported, 0, "a forked process does not hold this one's memory"};
  }
  return {};
}

}  // namespace

Availability probe_fork() {
  const auto pagemap = Pagemap::open();
  if (!pagemap) {
    return {"fork", false, pagemap.error().to_string(), "mount /proc"};
  }
  if (const auto copied = try_copy(); !copied) {
    return {"fork", false, copied.error().to_string(), "use --tracker compare"};
  }
  return {"fork", true, "", ""};
}

Result<std::unique_ptr<DirtyTracker>> make_fork_tracker(GuestMemory& memory) {
  for (const MemoryRegion& region : memory.regions()) {
    if (region.backing == BackingKind::kMemfd || region.backing == BackingKind::kSharedFile ||
        region.huge_pages == HugePages::kHugetlb) {
      return Error{Errc::kNotSupported, 0,
                   "tracker 'fork': guest memory " + describe(region.range) + " is backed by " +
                       std::string(name_of(region.backing)) + " with " +
                       std::string(name_of(region.huge_pages)) +
                       " huge pages; only private memory of ordinary pages is copied when it is "
                       "written: use another --tracker"};
    }
  }
  STASIS_ASSIGN(Pagemap pagemap, Pagemap::open());
  return std::unique_ptr<DirtyTracker>(std::make_unique<ForkTracker>(memory, std::move(pagemap)));
}

}  // namespace stasis::snapshot::internal
