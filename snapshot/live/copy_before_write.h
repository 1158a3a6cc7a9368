// Copy before write: which pages are still as they were at the moment of a live capture, and where
// the bytes of the others are. The mechanisms (userfaultfd, Vm::protect()) differ in how they learn
// of a write and in how they let it through; this is what they have in common.
//
// A frozen page is protected. Before it is written its bytes are kept aside; when it has been taken
// for the snapshot it is free. Each step on a page is one under the lock of its block of 2 MiB:
//  - who is about to write copies and then lets the write through, never the other way round;
//  - who takes copies and then gives permission back, before he lets go of the lock. So a write
//  that
//    is let through finds the page copied or taken.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/guest_memory.h"
#include "core/mutex.h"
#include "core/ranges.h"
#include "core/result.h"
#include "snapshot/live/live_options.h"
#include "snapshot/live/page_shelf.h"

namespace stasis::snapshot::internal {

// Thread-safe but for begin(). Borrows the memory.
class CopyBeforeWrite {
 public:
  static Result<std::unique_ptr<CopyBeforeWrite>> create(const GuestMemory& memory,
                                                         const LiveOptions& options);

  // These whole pages are frozen from now on, and no others. Nobody may write.
  void begin(const GpaRanges& ranges);

  enum class Answer : std::uint8_t {
    kMayWrite,  // No byte of it is needed any more.
    kMustWait,  // Ask again: after wait_for_room(), or when the range has been released.
  };
  // Before anybody writes to `range`, whole pages inside one region. `first_time`: not asked again
  // after kMustWait, for the counters.
  enum class Asked : std::uint8_t { kFirst, kAgain };
  Answer before_write(GpaRange range, Asked asked);
  // Returns when something has changed, or after a moment.
  void wait_for_room();

  // Fills `out` with the frozen bytes of `range`, whole pages inside one region, and lets go of
  // them. `release` gives permission to write, for parts of `range` that together are all of it.
  Result<void> take(GpaRange range, std::span<std::byte> out,
                    const std::function<Result<void>(GpaRange)>& release);

  // What is frozen is given up: take() and check() fail with the first such error, and everybody
  // may write.
  void fail(Error error);
  // Nothing is frozen any more; everybody may write.
  void end();
  [[nodiscard]] Result<void> check() const;
  [[nodiscard]] LiveCounters counters() const;

 private:
  enum class PageState : std::uint8_t { kFree, kFrozen, kAside };
  struct Region {
    GpaRange range;
    const std::byte* host = nullptr;
    std::vector<PageState> pages;  // Each under its block's lock.
  };
  // The blocks that share a lock, and the places of their pages that are aside.
  struct Stripe {
    Mutex mutex;
    std::unordered_map<std::uint64_t, std::uint32_t> aside STASIS_GUARDED_BY(mutex);  // By address.
  };

  CopyBeforeWrite(const GuestMemory& memory, const LiveOptions& options, PageShelf shelf);
  Region& region_of(Gpa gpa);
  Stripe& stripe_of(Gpa gpa);
  template <typename Visit>
  static void for_each_block(GpaRange range, Visit visit);
  bool keep_aside(Region& region, GpaRange piece);
  Result<void> copy_out(Region& region, GpaRange piece, std::span<std::byte> out, Stripe& stripe)
      STASIS_REQUIRES(stripe.mutex);
  void signal_room();

  // Constant after construction.
  const std::uint64_t page_size_bytes_;
  const WhenFull when_full_;
  PageShelf shelf_;  // Thread-safe.
  std::vector<Region> regions_;
  std::array<Stripe, 64> stripes_;
  // Release and acquire: who may write because of it knows that take() will see it.
  std::atomic<bool> over_ = false;
  mutable Mutex failure_mutex_;
  std::optional<Error> failure_ STASIS_GUARDED_BY(failure_mutex_);
  Mutex room_mutex_;
  ConditionVariable room_;
  // Counters, relaxed.
  std::atomic<std::uint64_t> write_faults_ = 0, copied_bytes_ = 0, waits_ = 0;
};

}  // namespace stasis::snapshot::internal
