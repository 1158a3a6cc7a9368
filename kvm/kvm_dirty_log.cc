#include "kvm/kvm_dirty_log.h"

#include "kvm/dirty_bitmap.h"

namespace stasis::kvm {

Result<void> read_dirty_bitmap(const KvmFd& vm, const MemorySlot& slot,
                               std::vector<std::uint64_t>& bitmap) {
  bitmap.assign(bitmap_words(slot.range.size), 0);
  kvm_dirty_log request{};
  request.slot = slot.id;
  request.dirty_bitmap = bitmap.data();
  return vm.apply(kGetDirtyLog, &request);
}

Result<void> check_not_logged(const MemorySlots& slots) {
  if ((slots.flags() & KVM_MEM_LOG_DIRTY_PAGES) != 0) {
    return Error{Errc::kInvalidArgument, 0,
                 "a dirty log of this VM is already started: stop() it first"};
  }
  return {};
}

Result<void> KvmDirtyLog::start() {
  STASIS_TRY(check_not_logged(slots_));
  STASIS_TRY(slots_.set_flags(slots_.flags() | KVM_MEM_LOG_DIRTY_PAGES));
  started_ = true;
  return {};
}

Result<GpaRanges> KvmDirtyLog::collect() {
  if (!started_) {
    return Error{Errc::kInvalidArgument, 0, "the dirty log is not started"};
  }
  GpaRanges ranges;
  for (const MemorySlot& slot : slots_.slots()) {
    STASIS_TRY(read_dirty_bitmap(vm_, slot, bitmap_));
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
