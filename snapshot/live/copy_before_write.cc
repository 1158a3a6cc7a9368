#include "snapshot/live/copy_before_write.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/check.h"
#include "core/text.h"
#include "snapshot/live/guest_bytes.h"

namespace stasis::snapshot::internal {
namespace {

// A block shares a lock and is let go of as a whole: no smaller than a huge page, which the kernel
// can then give back as one.
constexpr std::uint64_t kBlockBytes = std::uint64_t{2} << 20U;
// For whoever missed the signal, which is sent without a lock.
constexpr std::chrono::milliseconds kLookAgain{1};

}  // namespace

Result<std::unique_ptr<CopyBeforeWrite>> CopyBeforeWrite::create(const GuestMemory& memory,
                                                                 const LiveOptions& options) {
  STASIS_ASSIGN(PageShelf shelf, PageShelf::create(options.buffer_bytes, memory.page_size_bytes()));
  return std::unique_ptr<CopyBeforeWrite>(new CopyBeforeWrite(memory, options, std::move(shelf)));
}

CopyBeforeWrite::CopyBeforeWrite(const GuestMemory& memory, const LiveOptions& options,
                                 PageShelf shelf)
    : page_size_bytes_(memory.page_size_bytes()),
      when_full_(options.when_full),
      shelf_(std::move(shelf)) {
  for (const MemoryRegion& region : memory.regions()) {
    regions_.push_back(
        {region.range, region.host, std::vector<PageState>(region.range.size / page_size_bytes_)});
  }
}

void CopyBeforeWrite::begin(const GpaRanges& ranges) {
  for (Region& region : regions_) {
    for (const GpaRange& range : intersect(ranges, {region.range})) {
      const std::uint64_t first = (range.begin.value - region.range.begin.value) / page_size_bytes_;
      std::fill_n(region.pages.begin() + static_cast<std::ptrdiff_t>(first),
                  range.size / page_size_bytes_, PageState::kFrozen);
    }
  }
}

CopyBeforeWrite::Region& CopyBeforeWrite::region_of(Gpa gpa) {
  const auto found = std::find_if(regions_.begin(), regions_.end(),
                                  [gpa](const Region& r) { return r.range.contains(gpa); });
  STASIS_CHECK(found != regions_.end());
  return *found;
}

CopyBeforeWrite::Stripe& CopyBeforeWrite::stripe_of(Gpa gpa) {
  return stripes_.at((gpa.value / kBlockBytes) % stripes_.size());
}

// Compared as distances: the end of a range may be 2^64.
template <typename Visit>
void CopyBeforeWrite::for_each_block(GpaRange range, Visit visit) {
  for (std::uint64_t done = 0; done < range.size;) {
    const Gpa at = range.begin + done;
    const std::uint64_t size =
        std::min(range.size - done, kBlockBytes - (at.value & (kBlockBytes - 1)));
    visit(GpaRange{at, size});
    done += size;
  }
}

CopyBeforeWrite::Answer CopyBeforeWrite::before_write(GpaRange range, Asked asked) {
  if (asked == Asked::kFirst) {
    write_faults_.fetch_add(1, std::memory_order_relaxed);
  }
  Region& region = region_of(range.begin);
  bool may_write = true;
  for_each_block(range, [&](GpaRange piece) {
    may_write = may_write && (over_.load(std::memory_order_acquire) || keep_aside(region, piece));
  });
  if (may_write) {
    return Answer::kMayWrite;
  }
  if (when_full_ == WhenFull::kAbort) {
    fail(Error{Errc::kIo, 0,
               "live capture: the guest writes faster than the snapshot is written, and the buffer "
               "for overwritten pages is full; give it more, or let it slow the guest instead"});
    return Answer::kMayWrite;
  }
  if (asked == Asked::kFirst) {
    waits_.fetch_add(1, std::memory_order_relaxed);
  }
  return Answer::kMustWait;
}

// Copies the frozen pages of `piece`, which lies in one block: all of them or none, for want of
// room (false).
bool CopyBeforeWrite::keep_aside(Region& region, GpaRange piece) {
  Stripe& stripe = stripe_of(piece.begin);
  const std::uint64_t first = (piece.begin.value - region.range.begin.value) / page_size_bytes_;
  const auto states = std::span(region.pages).subspan(first, piece.size / page_size_bytes_);
  const MutexLock lock(stripe.mutex);
  const auto frozen =
      static_cast<std::size_t>(std::count(states.begin(), states.end(), PageState::kFrozen));
  if (frozen == 0) {
    return true;
  }
  const auto places = shelf_.reserve(frozen);
  if (!places) {
    return false;
  }
  auto place = places->begin();
  for (std::size_t i = 0; i < states.size(); ++i) {
    if (states[i] != PageState::kFrozen) {
      continue;
    }
    const std::uint64_t at = first + i;
    copy_guest_bytes(shelf_.at(*place), region.host + at * page_size_bytes_);
    stripe.aside.emplace(region.range.begin.value + at * page_size_bytes_, *place);
    states[i] = PageState::kAside;
    ++place;
  }
  copied_bytes_.fetch_add(frozen * page_size_bytes_, std::memory_order_relaxed);
  return true;
}

void CopyBeforeWrite::wait_for_room() {
  const auto deadline = deadline_after(kLookAgain);
  const MutexLock lock(room_mutex_);
  (void)room_.wait_until(room_mutex_, deadline);
}

void CopyBeforeWrite::signal_room() {
  room_.notify_all();
}

Result<void> CopyBeforeWrite::take(GpaRange range, std::span<std::byte> out,
                                   const std::function<Result<void>(GpaRange)>& release) {
  STASIS_CHECK(out.size() == range.size);
  Region& region = region_of(range.begin);
  Result<void> outcome;
  for_each_block(range, [&](GpaRange piece) {
    if (!outcome) {
      return;
    }
    const auto part = out.subspan(piece.begin.value - range.begin.value, piece.size);
    Stripe& stripe = stripe_of(piece.begin);
    const MutexLock lock(stripe.mutex);
    outcome = copy_out(region, piece, part, stripe);
    if (outcome) {
      outcome = release(piece);
    }
  });
  signal_room();
  if (!outcome) {
    STASIS_TRY(check());  // If there is a cause, it is that, and not what came of it.
  }
  return outcome;
}

Result<void> CopyBeforeWrite::copy_out(Region& region, GpaRange piece, std::span<std::byte> out,
                                       Stripe& stripe) {
  const std::uint64_t first = (piece.begin.value - region.range.begin.value) / page_size_bytes_;
  const auto states = std::span(region.pages).subspan(first, piece.size / page_size_bytes_);
  for (std::size_t i = 0; i < states.size();) {
    if (states[i] == PageState::kFree) {
      return Error{Errc::kInvalidArgument, 0,
                   "live capture: " + describe(piece) + " is not frozen, or was taken before"};
    }
    std::size_t end = i + 1;
    if (states[i] == PageState::kAside) {
      const auto found =
          stripe.aside.find(region.range.begin.value + (first + i) * page_size_bytes_);
      STASIS_CHECK(found != stripe.aside.end());
      const std::span<const std::byte> kept = shelf_.at(found->second);
      std::copy(kept.begin(), kept.end(),
                out.begin() + static_cast<std::ptrdiff_t>(i * page_size_bytes_));
      shelf_.give_back(found->second);
      stripe.aside.erase(found);
    } else {
      while (end < states.size() && states[end] == PageState::kFrozen) {
        ++end;
      }
      copy_guest_bytes(out.subspan(i * page_size_bytes_, (end - i) * page_size_bytes_),
                       region.host + (first + i) * page_size_bytes_);
    }
    std::fill(states.begin() + static_cast<std::ptrdiff_t>(i),
              states.begin() + static_cast<std::ptrdiff_t>(end), PageState::kFree);
    i = end;
  }
  // Last: who was let through because of a failure wrote after it was noted.
  return check();
}

void CopyBeforeWrite::fail(Error error) {
  {
    const MutexLock lock(failure_mutex_);
    if (!failure_ && !over_.load(std::memory_order_relaxed)) {
      failure_ = std::move(error);
    }
  }
  end();
}

void CopyBeforeWrite::end() {
  over_.store(true, std::memory_order_release);
  signal_room();
}

Result<void> CopyBeforeWrite::check() const {
  const MutexLock lock(failure_mutex_);
  return failure_ ? Result<void>(*failure_) : Result<void>();
}

LiveCounters CopyBeforeWrite::counters() const {
  return {.write_faults = write_faults_.load(std::memory_order_relaxed),
          .copied_bytes = copied_bytes_.load(std::memory_order_relaxed),
          .copied_peak_bytes = shelf_.peak_bytes(),
          .waits = waits_.load(std::memory_order_relaxed)};
}

}  // namespace stasis::snapshot::internal
