#include "kvm/dirty_ring_log.h"

#include <string>
#include <utility>

#include "core/text.h"

namespace stasis::kvm {
namespace {

constexpr std::uint64_t kPageBytes = 4096;

Error not_started() {
  return Error{Errc::kInvalidArgument, 0, "the dirty ring's log is not started"};
}

// The upper half of the slot's number is its address space, of which there is only one here.
std::optional<GpaRange> range_of(const std::vector<GpaRange>& slots, RingPage page) {
  if (page.slot >= slots.size() || page.page >= slots[page.slot].size / kPageBytes) {
    return std::nullopt;
  }
  return GpaRange{slots[page.slot].begin + page.page * kPageBytes, kPageBytes};
}

}  // namespace

void DirtyRingLog::add_ring(std::span<kvm_dirty_gfn> entries) {
  const MutexLock lock(mutex_);
  rings_.emplace_back(entries);
}

std::uint64_t DirtyRingLog::times_full() const {
  const MutexLock lock(mutex_);
  return times_full_;
}

Result<void> DirtyRingLog::take_all() {
  std::optional<RingPage> strange;
  std::size_t taken = 0;
  // The analysis cannot tell that the lock is held inside of a lambda.
  HostWriteLog* const written = written_ ? &*written_ : nullptr;
  const std::vector<GpaRange>* const slots = &slots_;
  for (DirtyRing& ring : rings_) {
    taken += ring.harvest([&strange, slots, written](RingPage page) {
      if (written == nullptr) {
        return;  // Of a time that is over.
      }
      if (const std::optional<GpaRange> range = range_of(*slots, page)) {
        written->mark(*range);
      } else {
        strange = page;
      }
    });
  }
  if (taken > 0) {
    STASIS_TRY(kernel_.reset_rings());
  }
  if (strange) {
    return Error{Errc::kBackend, 0,
                 "a dirty ring names page " + hex(strange->page) + " of memory slot " +
                     std::to_string(strange->slot) + ", which does not exist"};
  }
  return {};
}

Result<void> DirtyRingLog::empty() {
  const MutexLock lock(mutex_);
  ++times_full_;
  auto taken = take_all();
  if (!taken) {
    failure_ = taken.error();
  }
  return taken;
}

Result<void> DirtyRingLog::start() {
  const MutexLock lock(mutex_);
  if (written_) {
    return Error{Errc::kInvalidArgument, 0, "the dirty ring's log is already started"};
  }
  STASIS_TRY(take_all());  // What is left from before does not count.
  slots_ = kernel_.slots();
  STASIS_TRY(kernel_.set_logging(true));
  written_.emplace(slots_, kPageBytes);
  failure_.reset();
  times_full_ = 0;
  return {};
}

Result<GpaRanges> DirtyRingLog::collect() {
  const MutexLock lock(mutex_);
  if (!written_) {
    return not_started();
  }
  if (!failure_) {
    if (auto taken = take_all(); !taken) {
      failure_ = std::move(taken).error();
    }
  }
  if (failure_) {
    Error error = *failure_;
    return std::move(error).with_context("dirty ring");
  }
  return normalize(written_->collect());
}

Result<void> DirtyRingLog::stop() {
  const MutexLock lock(mutex_);
  if (!written_) {
    return not_started();
  }
  written_.reset();
  STASIS_TRY(kernel_.set_logging(false));
  return take_all();
}

}  // namespace stasis::kvm
