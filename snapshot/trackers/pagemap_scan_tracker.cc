// Write protection that the kernel answers by itself: userfaultfd in its asynchronous mode only
// lets a write through and remembers that the page is no longer protected; PAGEMAP_SCAN reads that
// and protects again in one step. Sees whoever writes, in any kind of mapping, without a thread
// that answers and without an exit. Source: the kernel's Documentation/admin-guide/mm/pagemap.rst,
// "Detecting written pages", and userfaultfd.rst, "Write-protect notifications".
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "snapshot/linux/pagemap.h"
#include "snapshot/linux/userfaultfd.h"
#include "snapshot/trackers/armed_state.h"
#include "snapshot/trackers/host_ranges.h"
#include "snapshot/trackers/tracker_factories.h"

namespace stasis::snapshot::internal {
namespace {

constexpr std::uint64_t kHugePageBytes = std::uint64_t{2} << 20U;

// Reserved huge pages are protected only whole.
std::uint64_t granularity_of(const GuestMemory& memory) {
  for (const MemoryRegion& region : memory.regions()) {
    if (region.huge_pages == HugePages::kHugetlb) {
      return kHugePageBytes;
    }
  }
  return memory.page_size_bytes();
}

class PagemapScanTracker final : public DirtyTracker {
 public:
  PagemapScanTracker(GuestMemory& memory, Pagemap pagemap, const UserfaultfdFeatures& features)
      : memory_(memory),
        pagemap_(std::move(pagemap)),
        features_(features),
        traits_{.name = "pagemap-scan",
                .sees_host_writes = true,
                .exact = granularity_of(memory) == memory.page_size_bytes(),
                .granularity_bytes = granularity_of(memory),
                .collects_while_running = true} {}
  ~PagemapScanTracker() override { (void)disarm(); }
  PagemapScanTracker(const PagemapScanTracker&) = delete;
  PagemapScanTracker& operator=(const PagemapScanTracker&) = delete;
  PagemapScanTracker(PagemapScanTracker&&) = delete;
  PagemapScanTracker& operator=(PagemapScanTracker&&) = delete;

  [[nodiscard]] const TrackerTraits& traits() const override { return traits_; }

  Result<void> arm() override {
    STASIS_TRY(state_.check_can_arm());
    owed_.clear();
    if (auto result = start(); !result) {
      stop();
      return std::move(result).error().with_context("arm the pagemap-scan tracker");
    }
    state_.set(true);
    return {};
  }

  Result<GpaRanges> collect() override {
    STASIS_TRY(state_.check_can_collect());
    GpaRanges dirty;
    for (const MemoryRegion& region : memory_.regions()) {
      HostRanges found;
      if (auto result = pagemap_.take_written(host_bytes(region, region.range), found); !result) {
        // Pages may have been protected again whose report is lost: all count as written.
        owed_ = memory_.ranges();
        return std::move(result).error().with_context("pagemap-scan tracker");
      }
      dirty = unite(dirty, guest_pages(region, found, memory_.page_size_bytes()));
    }
    return unite(dirty, std::exchange(owed_, {}));
  }

  // Looks at little more than what was written: nobody else writes meanwhile.
  Result<void> overlook(const GpaRanges& ranges,
                        const std::function<Result<void>()>& write) override {
    STASIS_TRY(state_.check_can_collect());
    Result<void> result = write();
    HostRanges written;
    for (const MemoryRegion& region : memory_.regions()) {
      for (const GpaRange& range : bridged(intersect(ranges, {region.range}))) {
        Result<void> taken = pagemap_.take_written(host_bytes(region, range), written);
        if (result) {
          result = std::move(taken);
        }
      }
    }
    if (!result) {
      owed_ = memory_.ranges();
    }
    return result;
  }

  Result<void> disarm() override {
    if (state_.armed()) {
      stop();
      state_.set(false);
    }
    return {};
  }

  WriteFaultHandler* write_fault_handler() override { return nullptr; }

 private:
  // `ranges` with the gaps in between that are walked faster than a system call is made.
  [[nodiscard]] GpaRanges bridged(const GpaRanges& ranges) const {
    constexpr std::uint64_t kBridgedPages = 32;
    GpaRanges runs;
    for (const GpaRange& range : ranges) {
      const std::uint64_t gap = runs.empty() ? 0 : range.begin.value - runs.back().end().value;
      if (!runs.empty() && gap <= kBridgedPages * memory_.page_size_bytes()) {
        runs.back().size += gap + range.size;
      } else {
        runs.push_back(range);
      }
    }
    return runs;
  }

  // On failure call stop().
  Result<void> start() {
    STASIS_ASSIGN(Userfaultfd uffd, Userfaultfd::open(features_, WriteFaults::kLetThrough));
    uffd_.emplace(std::move(uffd));
    for (const MemoryRegion& region : memory_.regions()) {
      STASIS_TRY(uffd_->register_range(host_bytes(region, region.range)));
      STASIS_TRY(uffd_->protect(host_bytes(region, region.range)));
    }
    return {};
  }

  void stop() {
    if (!uffd_) {
      return;
    }
    for (const MemoryRegion& region : memory_.regions()) {
      (void)uffd_->unregister_range(host_bytes(region, region.range));
    }
    uffd_.reset();  // Closing it undoes whatever was left.
  }

  GuestMemory& memory_;
  Pagemap pagemap_;
  UserfaultfdFeatures features_;
  TrackerTraits traits_;
  ArmedState state_;
  std::optional<Userfaultfd> uffd_;
  GpaRanges owed_;  // For the next collection, after one that failed.
};

}  // namespace

Availability probe_pagemap_scan() {
  Availability result{"pagemap-scan", false, "", "use Linux 6.7 or later"};
  const auto pagemap = Pagemap::open();
  const Result<void> scan = pagemap ? pagemap->check_scan() : Result<void>(pagemap.error());
  const auto features = query_userfaultfd(WriteFaults::kLetThrough);
  if (!scan) {
    result.reason = scan.error().to_string();
  } else if (!features) {
    result.reason = features.error().to_string();
    result.cure = "use a kernel with CONFIG_USERFAULTFD, and allow the system call";
  } else if (!features->write_protect_let_through) {
    result.reason = "this kernel's userfaultfd cannot let writes through and remember them";
  } else {
    return {"pagemap-scan", true, "", ""};
  }
  return result;
}

Result<std::unique_ptr<DirtyTracker>> make_pagemap_scan_tracker(GuestMemory& memory) {
  STASIS_ASSIGN(Pagemap pagemap, Pagemap::open());
  STASIS_ASSIGN(const UserfaultfdFeatures features, query_userfaultfd(WriteFaults::kLetThrough));
  return std::unique_ptr<DirtyTracker>(
      std::make_unique<PagemapScanTracker>(memory, std::move(pagemap), features));
}

}  // namespace stasis::snapshot::internal
