// A live capture by write protection of the host's own mapping (userfaultfd): whoever writes to a
// frozen page, the guest through the hypervisor, a device or a system call, sleeps until a thread
// here has kept the page aside.
//
// Protecting takes time in proportion to memory, and is done before the pause, while the guest
// runs: a page that is written meanwhile is made writable and noted, and only what was noted is
// protected again in the pause.
//
// The fault thread must never write to guest memory, nor wait for anybody who might: it takes a
// block's lock, whose holder copies and gives permission back, and nothing else.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/host_thread.h"
#include "core/host_write_log.h"
#include "core/mutex.h"
#include "core/text.h"
#include "snapshot/linux/userfaultfd.h"
#include "snapshot/live/copy_before_write.h"
#include "snapshot/live/mechanism_factories.h"
#include "snapshot/trackers/host_ranges.h"
#include "snapshot/trackers/page_chunk.h"

#ifndef MADV_POPULATE_READ  // Linux 5.14, include/uapi/asm-generic/mman-common.h.
#define MADV_POPULATE_READ 22
#endif

namespace stasis::snapshot::internal {
namespace {

constexpr std::uint64_t kHugePageBytes = std::uint64_t{2} << 20U;
// One fault costs as much for sixteen pages as for one, and a writer seldom stops at one.
constexpr std::uint64_t kChunkPages = 16;
// Protected in one step while the guest runs; others of its faults wait meanwhile.
constexpr std::uint64_t kStepBytes = std::uint64_t{16} << 20U;
constexpr int kLookAgainMs = 1;  // Whether there is room for writes that wait.

// What the kernel protects and gives back as one.
std::uint64_t unit_bytes_of(const GuestMemory& memory) {
  const bool reserved_huge = std::any_of(
      memory.regions().begin(), memory.regions().end(),
      [](const MemoryRegion& region) { return region.huge_pages == HugePages::kHugetlb; });
  return reserved_huge ? kHugePageBytes : memory.page_size_bytes();
}

class UserfaultfdFreeze final : public FrozenMemory, private HostWriteGuard {
 public:
  UserfaultfdFreeze(GuestMemory& memory, const UserfaultfdFeatures& features,
                    const FaultThreadOptions& thread, std::unique_ptr<CopyBeforeWrite> pages)
      : memory_(memory),
        features_(features),
        thread_options_(thread),
        unit_bytes_(unit_bytes_of(memory)),
        chunk_bytes_(std::max(unit_bytes_, memory.page_size_bytes() * kChunkPages)),
        pages_(std::move(pages)),
        written_meanwhile_(memory.ranges(), memory.page_size_bytes()) {}
  ~UserfaultfdFreeze() override { thaw(); }
  UserfaultfdFreeze(const UserfaultfdFreeze&) = delete;
  UserfaultfdFreeze& operator=(const UserfaultfdFreeze&) = delete;
  UserfaultfdFreeze(UserfaultfdFreeze&&) = delete;
  UserfaultfdFreeze& operator=(UserfaultfdFreeze&&) = delete;

  [[nodiscard]] std::string_view mechanism() const override { return "userfaultfd"; }

  // Registers everything and lets go: whether this memory can be protected, and nobody else does.
  Result<void> try_registration() {
    STASIS_ASSIGN(Userfaultfd uffd, Userfaultfd::open(features_));
    return register_all(uffd);
  }

  Result<void> prepare(const GpaRanges& ranges) override {
    STASIS_ASSIGN(Userfaultfd uffd, Userfaultfd::open(features_));
    stop_event_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
    if (!stop_event_.is_open()) {
      return errno_error(errno, "eventfd");
    }
    uffd_.emplace(std::move(uffd));
    STASIS_TRY(register_all(*uffd_));
    // Before any page is protected: from then on somebody may sleep until it is answered.
    STASIS_ASSIGN(fault_thread_, HostThread::start("the thread that answers write faults",
                                                   [this] { answer_faults(); }));
    STASIS_ASSIGN(watch_thread_, HostThread::start("the thread that watches it",
                                                   [this] { watch_fault_thread(); }));
    prepared_ = ranges;
    for (const GpaRange& range : split_by_region(memory_, ranges)) {
      STASIS_TRY(protect_in_steps(range));
    }
    return {};
  }

  Result<void> freeze(const GpaRanges& ranges) override {
    STASIS_CHECK(prepared_.empty() || prepared_ == ranges);
    STASIS_TRY(memory_.set_write_guard(*this));
    guarding_ = true;
    const MutexLock lock(mutex_);
    frozen_ = true;
    pages_->begin(ranges);
    const GpaRanges unprotected =
        prepared_.empty() ? ranges : intersect(written_meanwhile_.collect(), ranges);
    const GpaRanges units = intersect(align_outward(unprotected, unit_bytes_), memory_.ranges());
    for (const GpaRange& range : split_by_region(memory_, units)) {
      STASIS_TRY(protect(range));
    }
    return pages_->check();  // The fault thread may have failed meanwhile.
  }

  Result<void> take(GpaRange range, std::span<std::byte> out) override {
    return pages_->take(range, out, [this](GpaRange piece) { return give_back(piece); });
  }
  [[nodiscard]] Result<void> check() const override { return pages_->check(); }

  void thaw() noexcept override {
    pages_->end();
    if (std::exchange(guarding_, false)) {
      memory_.remove_write_guard();
    }
    // First, so that nobody has to wait for a thread that may be late.
    unregister_all();
    if (fault_thread_.joinable() || watch_thread_.joinable()) {
      const std::uint64_t one = 1;
      // Writing to an eventfd fails only when its counter overflows. Both threads see it.
      STASIS_CHECK(::write(stop_event_.get(), &one, sizeof(one)) == sizeof(one));
      fault_thread_.join();
      watch_thread_.join();
    }
    uffd_.reset();
  }

  [[nodiscard]] LiveCounters counters() const override { return pages_->counters(); }

 private:
  Result<void> register_all(Userfaultfd& uffd) {
    for (const MemoryRegion& region : memory_.regions()) {
      auto result = uffd.register_range(host_bytes(region, region.range));
      if (!result && result.error().os_error == EBUSY) {
        return Error{Errc::kInvalidArgument, EBUSY,
                     "live capture by 'userfaultfd': guest memory is protected by userfaultfd "
                     "already, by an armed tracker (userfaultfd, pagemap-scan) or another live "
                     "capture; use --live-by fork, or another --tracker"};
      }
      if (!result && result.error().code == Errc::kNotSupported) {
        return Error{Errc::kNotSupported, result.error().os_error,
                     "live capture by 'userfaultfd': guest memory " + describe(region.range) +
                         " is mapped from a file, at least in part, and the kernel write-protects "
                         "only anonymous and memfd memory; use --live-by fork, or restore with "
                         "--policy eager"};
      }
      STASIS_TRY(std::move(result));
    }
    return {};
  }

  void unregister_all() noexcept {
    if (uffd_) {
      for (const MemoryRegion& region : memory_.regions()) {
        (void)uffd_->unregister_range(host_bytes(region, region.range));
      }
    }
  }

  // `range` lies in one region.
  [[nodiscard]] std::span<std::byte> host_of(GpaRange range) const {
    for (const MemoryRegion& region : memory_.regions()) {
      if (region.range.contains(range.begin)) {
        return host_bytes(region, range);
      }
    }
    STASIS_CHECK(false);
    return {};
  }

  // The kernel keeps protection in page table entries. Where it cannot create one for a page that
  // does not exist, the page is made to exist.
  Result<void> protect(GpaRange range) {
    const std::span<std::byte> bytes = host_of(range);
    if (!features_.write_protect_unpopulated &&
        ::madvise(bytes.data(), bytes.size(), MADV_POPULATE_READ) != 0) {
      return errno_error(errno, "populate guest memory " + describe(range) +
                                    ", because this kernel cannot protect absent pages");
    }
    Result<void> done = uffd_->protect(bytes);
    if (!done) {
      STASIS_TRY(pages_->check());  // The cause, if the fault thread has failed.
    }
    return done;
  }

  Result<void> unprotect(GpaRange range) { return uffd_->unprotect(host_of(range)); }

  // Whole units of `piece`; others stay protected until somebody writes to them.
  Result<void> give_back(GpaRange piece) {
    const std::uint64_t begin = align_up(piece.begin.value, unit_bytes_) - piece.begin.value;
    if (begin >= piece.size) {
      return {};
    }
    const std::uint64_t size = align_down(piece.size - begin, unit_bytes_);
    return size == 0 ? Result<void>() : unprotect({piece.begin + begin, size});
  }

  Result<void> protect_in_steps(GpaRange range) {
    for (std::uint64_t done = 0; done < range.size; done += kStepBytes) {
      STASIS_TRY(protect({range.begin + done, std::min(kStepBytes, range.size - done)}));
      STASIS_TRY(pages_->check());
    }
    return {};
  }

  void fail(Error error) {
    pages_->fail(std::move(error));
    unregister_all();  // Nobody answers any more, so nobody may wait.
  }

  void answer_faults() {
    std::array<pollfd, 2> waits{{{uffd_->fd(), POLLIN, 0}, {stop_event_.get(), POLLIN, 0}}};
    for (;;) {
      if (::poll(waits.data(), waits.size(), waiting_.empty() ? -1 : kLookAgainMs) < 0) {
        if (errno == EINTR) {
          continue;  // Says nothing: `revents` is of an earlier call.
        }
        fail(errno_error(errno, "live capture: poll"));
        return;
      }
      if ((waits[1].revents & POLLIN) != 0) {
        return;
      }
      if (auto result = answer_waiting(); !result) {
        fail(std::move(result).error().with_context(
            "live capture: the thread that answers write faults failed"));
        return;
      }
    }
  }

  Result<void> answer_waiting() {
    if (thread_options_.before_answering) {
      STASIS_TRY(thread_options_.before_answering());
    }
    const MutexLock lock(mutex_);
    STASIS_ASSIGN(const std::vector<std::byte*> faults, uffd_->read_faults());
    std::vector<GpaRange> again = std::exchange(waiting_, {});
    for (const GpaRange& chunk : again) {
      STASIS_TRY(answer(chunk, CopyBeforeWrite::Asked::kAgain));
    }
    for (std::byte* const address : faults) {
      STASIS_TRY(answer(chunk_of(address), CopyBeforeWrite::Asked::kFirst));
    }
    answers_.fetch_add(faults.size(), std::memory_order_relaxed);
    return {};
  }

  [[nodiscard]] GpaRange chunk_of(const std::byte* address) const {
    for (const MemoryRegion& region : memory_.regions()) {
      if (address >= region.host && address < region.host + region.range.size) {
        const Gpa gpa = region.range.begin + static_cast<std::uint64_t>(address - region.host);
        const std::optional<GpaRange> chunk = chunk_around(memory_, gpa, chunk_bytes_);
        STASIS_CHECK(chunk.has_value());
        return *chunk;
      }
    }
    STASIS_CHECK(false);  // The kernel reports faults of registered ranges only.
    return {};
  }

  Result<void> answer(GpaRange chunk, CopyBeforeWrite::Asked asked) STASIS_REQUIRES(mutex_) {
    if (!frozen_) {
      written_meanwhile_.mark(chunk);
    } else if (pages_->before_write(chunk, asked) == CopyBeforeWrite::Answer::kMustWait) {
      waiting_.push_back(chunk);
      return {};
    }
    return unprotect(chunk);
  }

  void before_host_write(GpaRange range) override {
    const GpaRanges whole = intersect(align_outward({range}, chunk_bytes_), memory_.ranges());
    for (const GpaRange& piece : split_by_region(memory_, whole)) {
      auto asked = CopyBeforeWrite::Asked::kFirst;
      while (pages_->before_write(piece, asked) == CopyBeforeWrite::Answer::kMustWait) {
        asked = CopyBeforeWrite::Asked::kAgain;
        pages_->wait_for_room();
      }
      // If that fails, the write itself meets the protection, and the fault thread.
      (void)unprotect(piece);
    }
  }

  void watch_fault_thread() {
    pollfd stop{stop_event_.get(), POLLIN, 0};
    const auto look_every_ms = static_cast<int>(
        std::chrono::duration_cast<std::chrono::milliseconds>(thread_options_.look_every).count());
    std::uint64_t answers = 0;
    std::uint32_t stuck = 0;
    while (stuck < thread_options_.looks) {
      if (::poll(&stop, 1, look_every_ms) > 0) {
        return;
      }
      pollfd faults{uffd_->fd(), POLLIN, 0};
      const bool some_wait = ::poll(&faults, 1, 0) > 0 && (faults.revents & POLLIN) != 0;
      const std::uint64_t now = answers_.load(std::memory_order_relaxed);
      stuck = some_wait && now == answers ? stuck + 1 : 0;
      answers = now;
    }
    fail(Error{Errc::kTimeout, 0,
               "live capture: the thread that answers write faults has answered none for a long "
               "time, although some wait; the guest goes on without it"});
  }

  // Constant after construction.
  GuestMemory& memory_;
  const UserfaultfdFeatures features_;
  const FaultThreadOptions thread_options_;
  const std::uint64_t unit_bytes_;
  const std::uint64_t chunk_bytes_;  // What one fault makes writable.
  // Thread-safe.
  const std::unique_ptr<CopyBeforeWrite> pages_;
  std::atomic<std::uint64_t> answers_ = 0;  // Relaxed: only whether it changes.
  // Constant while the threads run; every call of Userfaultfd is thread-safe.
  std::optional<Userfaultfd> uffd_;
  UniqueFd stop_event_;
  // Reading faults and answering them is one step, and so is what freeze() does.
  Mutex mutex_;
  bool frozen_ STASIS_GUARDED_BY(mutex_) = false;
  HostWriteLog written_meanwhile_;  // Thread-safe; between prepare() and freeze().
  // The fault thread's: chunks whose writers wait for room.
  std::vector<GpaRange> waiting_;
  // Of the owner's thread until freeze() has returned, then of whoever thaws.
  GpaRanges prepared_;
  bool guarding_ = false;
  HostThread fault_thread_, watch_thread_;
};

}  // namespace

Result<std::unique_ptr<FrozenMemory>> make_userfaultfd_freeze(GuestMemory& memory,
                                                              const LiveOptions& options,
                                                              const FaultThreadOptions& thread) {
  STASIS_ASSIGN(const UserfaultfdFeatures features, query_userfaultfd());
  for (const MemoryRegion& region : memory.regions()) {
    const bool plain =
        region.backing == BackingKind::kAnonymous && region.huge_pages != HugePages::kHugetlb;
    if (plain ? !features.write_protect : !features.write_protect_shared) {
      return Error{Errc::kNotSupported, 0,
                   "live capture by 'userfaultfd': this kernel cannot write-protect guest memory " +
                       describe(region.range) + " backed by " +
                       std::string(name_of(region.backing)) +
                       "; use Linux 5.19 or later, anonymous memory, or --live-by fork"};
    }
  }
  STASIS_ASSIGN(std::unique_ptr<CopyBeforeWrite> pages, CopyBeforeWrite::create(memory, options));
  auto freeze = std::make_unique<UserfaultfdFreeze>(memory, features, thread, std::move(pages));
  STASIS_TRY(freeze->try_registration());
  return std::unique_ptr<FrozenMemory>(std::move(freeze));
}

}  // namespace stasis::snapshot::internal
