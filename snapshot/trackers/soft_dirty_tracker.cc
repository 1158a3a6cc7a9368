// The mark that the kernel itself sets in a page table entry when it is written through, and that a
// process may clear for all of its memory at once (Documentation/admin-guide/mm/soft-dirty.rst).
// Sees whoever writes: clearing also makes KVM forget its translations. Not exact: a transparent
// huge page has one mark, and what was mapped since the last look counts as written.
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <utility>

#include "core/text.h"
#include "snapshot/linux/pagemap.h"
#include "snapshot/trackers/armed_state.h"
#include "snapshot/trackers/host_ranges.h"
#include "snapshot/trackers/tracker_factories.h"

namespace stasis::snapshot::internal {
namespace {

// The marks belong to the process and whoever clears them clears everybody's: one tracker at a
// time. Global because what it guards is. Sequentially consistent; changes hands seldom.
std::atomic<bool> g_marks_taken =
    false;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

class SoftDirtyTracker final : public DirtyTracker {
 public:
  SoftDirtyTracker(GuestMemory& memory, Pagemap pagemap)
      : memory_(memory),
        pagemap_(std::move(pagemap)),
        traits_{"soft-dirty", true, false, memory.page_size_bytes()} {}
  ~SoftDirtyTracker() override { (void)disarm(); }
  SoftDirtyTracker(const SoftDirtyTracker&) = delete;
  SoftDirtyTracker& operator=(const SoftDirtyTracker&) = delete;
  SoftDirtyTracker(SoftDirtyTracker&&) = delete;
  SoftDirtyTracker& operator=(SoftDirtyTracker&&) = delete;

  [[nodiscard]] const TrackerTraits& traits() const override { return traits_; }

  Result<void> arm() override {
    STASIS_TRY(state_.check_can_arm());
    if (g_marks_taken.exchange(true)) {
      return Error{Errc::kInvalidArgument, 0,
                   "tracker 'soft-dirty': another one is armed in this process, and the kernel "
                   "keeps one set of marks for all; disarm it, or use another --tracker"};
    }
    if (auto cleared = clear_soft_dirty(); !cleared) {
      g_marks_taken.store(false);
      return std::move(cleared).error().with_context("arm the soft-dirty tracker");
    }
    state_.set(true);
    return {};
  }

  Result<GpaRanges> collect() override {
    STASIS_TRY(state_.check_can_collect());
    GpaRanges dirty;
    for (const MemoryRegion& region : memory_.regions()) {
      HostRanges found;
      STASIS_TRY(pagemap_.find_soft_dirty(host_bytes(region, region.range), found));
      dirty = unite(dirty, guest_pages(region, found, memory_.page_size_bytes()));
    }
    // If this fails the marks stay, or some of them do not: those pages are in nobody's answer.
    if (auto cleared = clear_soft_dirty(); !cleared) {
      owed_ = unite(owed_, dirty);
      return std::move(cleared).error().with_context("re-arm the soft-dirty tracker");
    }
    return unite(dirty, std::exchange(owed_, {}));
  }

  Result<void> disarm() override {
    if (state_.armed()) {
      state_.set(false);
      owed_.clear();
      g_marks_taken.store(false);
    }
    return {};
  }

  WriteFaultHandler* write_fault_handler() override { return nullptr; }

 private:
  GuestMemory& memory_;
  Pagemap pagemap_;
  TrackerTraits traits_;
  ArmedState state_;
  GpaRanges owed_;  // For the next collection, after one that failed.
};

// A page that was written a moment ago has the mark where there are marks. Clears nothing: a
// tracker may be armed.
Result<void> check_marks(const Pagemap& pagemap) {
  const auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* const page =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) {  // NOLINT: the C library's macro is a cast.
    return errno_error(errno, "map a page");
  }
  *static_cast<volatile std::byte*>(page) = std::byte{1};
  HostRanges found;
  const auto looked = pagemap.find_soft_dirty({static_cast<std::byte*>(page), bytes}, found);
  ::munmap(page, bytes);
  STASIS_TRY(looked);
  if (found.empty()) {
    return Error{Errc::kNotSupported, 0,
                 "this kernel does not mark written pages: it was built without "
                 "CONFIG_MEM_SOFT_DIRTY"};
  }
  return {};
}

}  // namespace

Availability probe_soft_dirty() {
  const auto pagemap = Pagemap::open();
  if (!pagemap) {
    return {"soft-dirty", false, pagemap.error().to_string(), "mount /proc"};
  }
  if (const auto marks = check_marks(*pagemap); !marks) {
    return {"soft-dirty", false, marks.error().to_string(),
            "use a kernel with CONFIG_MEM_SOFT_DIRTY, or --tracker pagemap-scan"};
  }
  return {"soft-dirty", true, "", ""};
}

Result<std::unique_ptr<DirtyTracker>> make_soft_dirty_tracker(GuestMemory& memory) {
  for (const MemoryRegion& region : memory.regions()) {
    // The mark of a shared page is lost when the page leaves this process's page table.
    if (region.backing == BackingKind::kMemfd || region.backing == BackingKind::kSharedFile ||
        region.huge_pages == HugePages::kHugetlb) {
      return Error{Errc::kNotSupported, 0,
                   "tracker 'soft-dirty': guest memory " + describe(region.range) +
                       " is backed by " + std::string(name_of(region.backing)) + " with " +
                       std::string(name_of(region.huge_pages)) +
                       " huge pages; marks are kept reliably only for private memory of ordinary "
                       "pages: use another --tracker"};
    }
  }
  STASIS_ASSIGN(Pagemap pagemap, Pagemap::open());
  return std::unique_ptr<DirtyTracker>(
      std::make_unique<SoftDirtyTracker>(memory, std::move(pagemap)));
}

}  // namespace stasis::snapshot::internal
