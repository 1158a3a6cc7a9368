#include "kvm/kvm_manual_dirty_log.h"

#include <algorithm>
#include <utility>

#include "core/ranges.h"
#include "kvm/dirty_bitmap.h"
#include "kvm/kvm_dirty_log.h"

namespace stasis::kvm {
namespace {

// A request costs some microseconds, an empty word nothing to speak of.
constexpr std::size_t kGapWords = 256;
// 256 MiB of guest RAM: for so long KVM holds its lock at a time.
constexpr std::size_t kSpanWords = 1024;

}  // namespace

Result<void> KvmManualDirtyLog::choose(std::uint32_t mode) const {
  kvm_enable_cap capability{};
  capability.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2;
  capability.args[0] = mode;
  return vm_.apply(kEnableCap, &capability);
}

Result<void> KvmManualDirtyLog::start() {
  STASIS_TRY(check_not_logged(slots_));
  STASIS_TRY(choose(offered_));
  started_ = true;
  owed_.clear();
  if (auto started = start_logging(); !started) {
    (void)stop();
    return started;
  }
  return {};
}

Result<void> KvmManualDirtyLog::start_logging() {
  STASIS_TRY(slots_.set_flags(slots_.flags() | KVM_MEM_LOG_DIRTY_PAGES));
  if ((offered_ & KVM_DIRTY_LOG_INITIALLY_SET) == 0) {
    return {};  // All pages are protected and clean.
  }
  for (const MemorySlot& slot : slots_.slots()) {
    bitmap_.assign(bitmap_words(slot.range.size), UINT64_MAX);
    STASIS_TRY(clear(slot));
  }
  return {};
}

// The request's first page must be a multiple of 64, and its number of pages too unless it reaches
// the end of the slot. Bits beyond that end do not count.
Result<void> KvmManualDirtyLog::clear(const MemorySlot& slot) {
  const std::uint64_t slot_pages = slot.range.size / kBitmapPageBytes;
  for (const WordSpan& span : dirty_spans(bitmap_, kGapWords, kSpanWords)) {
    const std::uint64_t first_page = span.first * kBitsPerWord;
    kvm_clear_dirty_log request{};
    request.slot = slot.id;
    request.first_page = first_page;
    request.num_pages = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(span.count * kBitsPerWord, slot_pages - first_page));
    request.dirty_bitmap = bitmap_.data() + span.first;
    STASIS_TRY(vm_.apply(kClearDirtyLog, &request));
  }
  return {};
}

Result<GpaRanges> KvmManualDirtyLog::collect() {
  if (!started_) {
    return Error{Errc::kInvalidArgument, 0, "the dirty log is not started"};
  }
  GpaRanges ranges;
  for (const MemorySlot& slot : slots_.slots()) {
    auto done = read_dirty_bitmap(vm_, slot, bitmap_);
    append_runs(bitmap_, slot.range.begin, ranges);
    if (done) {
      done = clear(slot);
    }
    if (!done) {
      owed_ = unite(owed_, ranges);  // Perhaps cleared, and not reported.
      return std::move(done).error();
    }
  }
  return unite(ranges, std::exchange(owed_, {}));
}

Result<void> KvmManualDirtyLog::stop() {
  if (!started_) {
    return Error{Errc::kInvalidArgument, 0, "the dirty log is not started"};
  }
  started_ = false;
  STASIS_TRY(
      slots_.set_flags(slots_.flags() & ~static_cast<std::uint32_t>(KVM_MEM_LOG_DIRTY_PAGES)));
  return choose(0);
}

}  // namespace stasis::kvm
