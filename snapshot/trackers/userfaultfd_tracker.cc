// Write protection of the host's own mapping of guest RAM by Linux userfaultfd, with one thread
// that answers the faults. Sees every write through that mapping: the guest's (the hypervisor
// resolves guest memory through it), a device's, a system call's.
//
// Two orders keep every page:
//  - a page is noted before it becomes writable;
//  - reading faults, noting them and making pages writable is one step under `mutex_`, and so is
//    taking the notes and protecting again. Otherwise collect() could take the note of a page that
//    the fault thread makes writable afterwards.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>
#include <optional>
#include <string>

#include "core/host_thread.h"
#include "core/host_write_log.h"
#include "core/mutex.h"
#include "core/text.h"
#include "snapshot/linux/userfaultfd.h"
#include "snapshot/trackers/armed_state.h"
#include "snapshot/trackers/host_ranges.h"
#include "snapshot/trackers/page_chunk.h"
#include "snapshot/trackers/tracker_factories.h"

#ifndef MADV_POPULATE_READ  // Linux 5.14, include/uapi/asm-generic/mman-common.h.
#define MADV_POPULATE_READ 22
#endif

namespace stasis::snapshot::internal {
namespace {

constexpr std::uint64_t kHugePageBytes = std::uint64_t{2} << 20U;

// One fault makes at least this much writable: the kernel protects reserved huge pages only whole.
std::uint64_t chunk_bytes_of(const GuestMemory& memory, const TrackerOptions& options) {
  std::uint64_t bytes = memory.page_size_bytes() * options.unprotect_pages;
  for (const MemoryRegion& region : memory.regions()) {
    if (region.huge_pages == HugePages::kHugetlb) {
      bytes = std::max(bytes, kHugePageBytes);
    }
  }
  return bytes;
}

class UserfaultfdTracker final : public DirtyTracker {
 public:
  UserfaultfdTracker(GuestMemory& memory, const UserfaultfdFeatures& features,
                     std::uint64_t chunk_bytes)
      : memory_(memory),
        features_(features),
        chunk_bytes_(chunk_bytes),
        ranges_(memory.ranges()),
        written_(ranges_, memory.page_size_bytes()),
        traits_{.name = "userfaultfd",
                .sees_host_writes = true,
                .exact = chunk_bytes == memory.page_size_bytes(),
                .granularity_bytes = chunk_bytes,
                .collects_while_running = true} {}
  ~UserfaultfdTracker() override { (void)disarm(); }
  UserfaultfdTracker(const UserfaultfdTracker&) = delete;
  UserfaultfdTracker& operator=(const UserfaultfdTracker&) = delete;
  UserfaultfdTracker(UserfaultfdTracker&&) = delete;
  UserfaultfdTracker& operator=(UserfaultfdTracker&&) = delete;

  [[nodiscard]] const TrackerTraits& traits() const override { return traits_; }

  Result<void> arm() override {
    STASIS_TRY(state_.check_can_arm());
    written_.clear();
    if (auto result = start(); !result) {
      stop();
      return std::move(result).error().with_context("arm the userfaultfd tracker");
    }
    state_.set(true);
    return {};
  }

  Result<GpaRanges> collect() override {
    STASIS_TRY(state_.check_can_collect());
    const MutexLock lock(mutex_);
    if (failure_) {
      Error error = *failure_;
      return std::move(error).with_context("userfaultfd tracker");
    }
    GpaRanges dirty = written_.collect();
    if (auto result = protect(dirty); !result) {
      for (const GpaRange& range : dirty) {
        written_.mark(range);  // Perhaps still writable: dirty until they are protected.
      }
      return std::move(result).error().with_context("re-arm the userfaultfd tracker");
    }
    return dirty;
  }

  // Without a fault for each page.
  Result<void> overlook(const GpaRanges& ranges,
                        const std::function<Result<void>()>& write) override {
    STASIS_TRY(state_.check_can_collect());
    Result<void> result = change_protection(ranges, &Userfaultfd::unprotect);
    if (result) {
      result = write();
    }
    Result<void> protected_again = change_protection(ranges, &Userfaultfd::protect);
    if (result) {
      result = std::move(protected_again);
    }
    if (!result) {
      for (const GpaRange& range : ranges) {
        written_.mark(range);  // Perhaps still writable, or written.
      }
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

  // Registers everything and lets go: whether arm() can work on this memory.
  Result<void> try_registration() {
    STASIS_ASSIGN(Userfaultfd uffd, Userfaultfd::open(features_));
    for (const MemoryRegion& region : memory_.regions()) {
      STASIS_TRY(register_region(uffd, region));
    }
    return {};  // Closing the descriptor unregisters.
  }

 private:
  static Result<void> register_region(Userfaultfd& uffd, const MemoryRegion& region) {
    auto result = uffd.register_range(host_bytes(region, region.range));
    if (!result && result.error().code == Errc::kNotSupported) {
      return Error{Errc::kNotSupported, result.error().os_error,
                   "tracker 'userfaultfd': guest memory " + describe(region.range) +
                       " is mapped from a file, at least in part, and the kernel write-protects "
                       "only anonymous and memfd memory; restore with --policy eager, or use "
                       "--tracker dirty-log or compare-hash"};
    }
    return result;
  }

  // On failure call stop().
  Result<void> start() {
    STASIS_ASSIGN(Userfaultfd uffd, Userfaultfd::open(features_));
    stop_event_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
    if (!stop_event_.is_open()) {
      return errno_error(errno, "eventfd");
    }
    {
      const MutexLock lock(mutex_);
      uffd_.emplace(std::move(uffd));
      failure_.reset();
      for (const MemoryRegion& region : memory_.regions()) {
        STASIS_TRY(register_region(*uffd_, region));
      }
    }
    // Before any page is protected: from then on somebody may sleep until it is answered.
    STASIS_ASSIGN(thread_, HostThread::start("the thread that answers write faults",
                                             [this] { answer_faults(); }));
    for (const MemoryRegion& region : memory_.regions()) {
      STASIS_TRY(populate(region));
    }
    const MutexLock lock(mutex_);
    return protect(ranges_);
  }

  // The kernel keeps protection in page table entries. Where it cannot create one for a page that
  // does not exist, the page is made to exist.
  Result<void> populate(const MemoryRegion& region) const {
    if (region.backing != BackingKind::kAnonymous || features_.write_protect_unpopulated) {
      return {};
    }
    if (::madvise(region.host, region.range.size, MADV_POPULATE_READ) != 0) {
      return errno_error(errno, "populate guest memory " + describe(region.range) +
                                    ", because this kernel cannot protect absent pages");
    }
    return {};
  }

  // Afterwards nothing is protected and nobody waits.
  void stop() {
    if (thread_.joinable()) {
      const std::uint64_t one = 1;
      // Writing to an eventfd fails only when its counter overflows.
      STASIS_CHECK(::write(stop_event_.get(), &one, sizeof(one)) == sizeof(one));
      thread_.join();
    }
    const MutexLock lock(mutex_);
    if (uffd_) {
      for (const MemoryRegion& region : memory_.regions()) {
        (void)uffd_->unregister_range(host_bytes(region, region.range));
      }
      uffd_.reset();  // Closing it undoes whatever was left.
    }
  }

  // Ranges may cross from one region into an adjacent one.
  Result<void> protect(const GpaRanges& ranges) STASIS_REQUIRES(mutex_) {
    for (const MemoryRegion& region : memory_.regions()) {
      for (const GpaRange& range : intersect(ranges, {region.range})) {
        STASIS_TRY(uffd_->protect(host_bytes(region, range)));
      }
    }
    return {};
  }

  using Change = Result<void> (Userfaultfd::*)(std::span<std::byte>);
  Result<void> change_protection(const GpaRanges& ranges, Change change) {
    const MutexLock lock(mutex_);
    if (failure_) {
      Error error = *failure_;
      return std::move(error).with_context("userfaultfd tracker");
    }
    for (const MemoryRegion& region : memory_.regions()) {
      for (const GpaRange& range : intersect(ranges, {region.range})) {
        STASIS_TRY((*uffd_.*change)(host_bytes(region, range)));
      }
    }
    return {};
  }

  // The fault thread. It must never write to guest memory: nobody would answer its fault.
  void answer_faults() {
    int fault_fd = -1;
    {
      const MutexLock lock(mutex_);
      fault_fd = uffd_->fd();
    }
    std::array<pollfd, 2> waits{{{fault_fd, POLLIN, 0}, {stop_event_.get(), POLLIN, 0}}};
    for (;;) {
      if (::poll(waits.data(), waits.size(), -1) < 0) {
        if (errno == EINTR) {
          continue;  // Says nothing: `revents` is of an earlier call.
        }
        fail(errno_error(errno, "poll"));
        return;
      }
      if ((waits[1].revents & POLLIN) != 0) {
        return;
      }
      if (auto result = answer_waiting(); !result) {
        fail(std::move(result).error());
        return;
      }
    }
  }

  Result<void> answer_waiting() {
    const MutexLock lock(mutex_);
    STASIS_ASSIGN(const std::vector<std::byte*> faults, uffd_->read_faults());
    for (std::byte* const address : faults) {
      STASIS_TRY(make_writable(address));
    }
    return {};
  }

  Result<void> make_writable(std::byte* address) STASIS_REQUIRES(mutex_) {
    for (const MemoryRegion& region : memory_.regions()) {
      if (address < region.host || address >= region.host + region.range.size) {
        continue;
      }
      const Gpa gpa = region.range.begin + static_cast<std::uint64_t>(address - region.host);
      const std::optional<GpaRange> chunk = chunk_around(memory_, gpa, chunk_bytes_);
      STASIS_CHECK(chunk.has_value());
      written_.mark(*chunk);
      return uffd_->unprotect(host_bytes(region, *chunk));
    }
    STASIS_CHECK(false);  // The kernel reports faults of registered ranges only.
    return {};
  }

  // Nobody answers faults any more, so nothing may stay protected; collect() reports the loss.
  void fail(Error error) {
    const MutexLock lock(mutex_);
    for (const MemoryRegion& region : memory_.regions()) {
      (void)uffd_->unregister_range(host_bytes(region, region.range));
    }
    failure_ = std::move(error);
  }

  // Constant after construction.
  GuestMemory& memory_;
  UserfaultfdFeatures features_;
  std::uint64_t chunk_bytes_;
  GpaRanges ranges_;
  // Shared with the fault thread.
  Mutex mutex_;
  std::optional<Userfaultfd> uffd_ STASIS_GUARDED_BY(mutex_);
  std::optional<Error> failure_ STASIS_GUARDED_BY(mutex_);
  HostWriteLog written_;  // Thread-safe, but see the top of this file.
  UniqueFd stop_event_;   // Constant while the thread runs.
  // Owner thread only.
  HostThread thread_;
  TrackerTraits traits_;
  ArmedState state_;
};

Error lacking(const GuestMemory& memory, const MemoryRegion& region) {
  (void)memory;
  return Error{Errc::kNotSupported, 0,
               "tracker 'userfaultfd': this kernel cannot write-protect guest memory " +
                   describe(region.range) + " backed by " + std::string(name_of(region.backing)) +
                   "; use Linux 5.19 or later, anonymous memory, or another --tracker"};
}

}  // namespace

Availability probe_userfaultfd() {
  Availability result{"userfaultfd", false, "", ""};
  const auto features = query_userfaultfd();
  if (!features) {
    result.reason = features.error().to_string();
    result.cure = "run as root, or set vm.unprivileged_userfaultfd=1";
  } else if (!features->write_protect) {
    result.reason = "this kernel's userfaultfd cannot write-protect memory";
    result.cure = "use Linux 5.7 or later";
  } else {
    result.available = true;
  }
  return result;
}

Result<std::unique_ptr<DirtyTracker>> make_userfaultfd_tracker(GuestMemory& memory,
                                                               const TrackerOptions& options) {
  STASIS_ASSIGN(const UserfaultfdFeatures features, query_userfaultfd());
  for (const MemoryRegion& region : memory.regions()) {
    const bool plain =
        region.backing == BackingKind::kAnonymous && region.huge_pages != HugePages::kHugetlb;
    if (plain ? !features.write_protect : !features.write_protect_shared) {
      return lacking(memory, region);
    }
  }
  auto tracker =
      std::make_unique<UserfaultfdTracker>(memory, features, chunk_bytes_of(memory, options));
  STASIS_TRY(tracker->try_registration());
  return std::unique_ptr<DirtyTracker>(std::move(tracker));
}

}  // namespace stasis::snapshot::internal
