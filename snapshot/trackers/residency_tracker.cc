// Which pages are there at all: over-approximates what was written by what was ever touched. In a
// private mapping a page that was never there has never been written, so what is absent now and was
// absent at the last look is unchanged; everything else is reported, in every collection. Costs the
// guest nothing and reads no memory: the baseline that a real tracker has to beat.
#include <string>
#include <utility>

#include "core/text.h"
#include "snapshot/linux/pagemap.h"
#include "snapshot/trackers/armed_state.h"
#include "snapshot/trackers/host_ranges.h"
#include "snapshot/trackers/tracker_factories.h"

namespace stasis::snapshot::internal {
namespace {

class ResidencyTracker final : public DirtyTracker {
 public:
  ResidencyTracker(GuestMemory& memory, Pagemap pagemap)
      : memory_(memory),
        pagemap_(std::move(pagemap)),
        traits_{"residency", true, false, memory.page_size_bytes()} {}

  [[nodiscard]] const TrackerTraits& traits() const override { return traits_; }

  Result<void> arm() override {
    STASIS_TRY(state_.check_can_arm());
    STASIS_ASSIGN(before_, look());
    state_.set(true);
    return {};
  }

  // What was there at the last look counts, too: somebody may have discarded it since.
  Result<GpaRanges> collect() override {
    STASIS_TRY(state_.check_can_collect());
    STASIS_ASSIGN(GpaRanges now, look());
    GpaRanges dirty = unite(before_, now);
    before_ = std::move(now);
    return dirty;
  }

  Result<void> disarm() override {
    before_.clear();
    state_.set(false);
    return {};
  }

  WriteFaultHandler* write_fault_handler() override { return nullptr; }

 private:
  [[nodiscard]] Result<GpaRanges> look() const {
    GpaRanges resident;
    for (const MemoryRegion& region : memory_.regions()) {
      HostRanges found;
      STASIS_TRY(pagemap_.find_resident(host_bytes(region, region.range), found));
      resident = unite(resident, guest_pages(region, found, memory_.page_size_bytes()));
    }
    return resident;
  }

  GuestMemory& memory_;
  Pagemap pagemap_;
  TrackerTraits traits_;
  ArmedState state_;
  GpaRanges before_;
};

}  // namespace

Availability probe_residency() {
  const auto pagemap = Pagemap::open();
  if (!pagemap) {
    return {"residency", false, pagemap.error().to_string(), "mount /proc"};
  }
  return {"residency", true, "", ""};
}

Result<std::unique_ptr<DirtyTracker>> make_residency_tracker(GuestMemory& memory) {
  for (const MemoryRegion& region : memory.regions()) {
    // Pages of shared memory live on after they leave this process's page table, changed or not.
    if (region.backing == BackingKind::kMemfd || region.backing == BackingKind::kSharedFile ||
        region.huge_pages == HugePages::kHugetlb) {
      return Error{Errc::kNotSupported, 0,
                   "tracker 'residency': guest memory " + describe(region.range) +
                       " is backed by " + std::string(name_of(region.backing)) + " with " +
                       std::string(name_of(region.huge_pages)) +
                       " huge pages; it can tell what was never written only in private memory "
                       "of ordinary pages: use another --tracker"};
    }
  }
  STASIS_ASSIGN(Pagemap pagemap, Pagemap::open());
  return std::unique_ptr<DirtyTracker>(
      std::make_unique<ResidencyTracker>(memory, std::move(pagemap)));
}

}  // namespace stasis::snapshot::internal
