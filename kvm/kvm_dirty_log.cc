#include "kvm/kvm_dirty_log.h"

#include <bit>

namespace stasis::kvm {
namespace {

constexpr std::uint64_t kPageBytes = 4096;
constexpr std::uint64_t kBitsPerWord = 64;

// The bits of one slot count from the slot's own first page. Appends runs, joined to the last one
// where they touch it, also across slots.
void append_runs(const std::vector<std::uint64_t>& bitmap, Gpa slot_begin, GpaRanges& ranges) {
  for (std::size_t word = 0; word < bitmap.size(); ++word) {
    std::uint64_t bits = bitmap[word];
    while (bits != 0) {
      const auto first = static_cast<std::uint64_t>(std::countr_zero(bits));
      const auto count = static_cast<std::uint64_t>(std::countr_one(bits >> first));
      const Gpa begin = slot_begin + (word * kBitsPerWord + first) * kPageBytes;
      if (!ranges.empty() && ranges.back().end() == begin) {
        ranges.back().size += count * kPageBytes;
      } else {
        ranges.push_back({begin, count * kPageBytes});
      }
      // A shift by 64 is undefined, hence in two steps.
      bits = first + count == kBitsPerWord ? 0 : (bits >> (first + count)) << (first + count);
    }
  }
}

}  // namespace

Result<void> KvmDirtyLog::start() {
  if (started_) {
    return Error{Errc::kInvalidArgument, 0, "the dirty log is already started: stop() it first"};
  }
  STASIS_TRY(slots_.set_flags(slots_.flags() | KVM_MEM_LOG_DIRTY_PAGES));
  started_ = true;
  return {};
}

Result<void> KvmDirtyLog::read_slot(const MemorySlot& slot) {
  const std::uint64_t pages = slot.range.size / kPageBytes;
  bitmap_.assign((pages + kBitsPerWord - 1) / kBitsPerWord, 0);
  kvm_dirty_log request{};
  request.slot = slot.id;
  request.dirty_bitmap = bitmap_.data();
  return vm_.apply(kGetDirtyLog, &request);
}

Result<GpaRanges> KvmDirtyLog::collect() {
  if (!started_) {
    return Error{Errc::kInvalidArgument, 0, "the dirty log is not started"};
  }
  GpaRanges ranges;
  for (const MemorySlot& slot : slots_.slots()) {
    STASIS_TRY(read_slot(slot));
    append_runs(bitmap_, slot.range.begin, ranges);
  }
  return ranges;
}

Result<void> KvmDirtyLog::stop() {
  if (!started_) {
    return Error{Errc::kInvalidArgument, 0, "the dirty log is not started"};
  }
  started_ = false;
  return slots_.set_flags(slots_.flags() & ~static_cast<std::uint32_t>(KVM_MEM_LOG_DIRTY_PAGES));
}

}  // namespace stasis::kvm
