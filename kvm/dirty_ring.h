// One vCPU's ring of dirty pages, as user space reads it (Documentation/virt/kvm/api.rst, 8.29).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kvm/kvm_uapi.h"

namespace stasis::kvm {

// A page that a ring names: `page` of memory slot `slot`. Value.
struct RingPage {
  std::uint32_t slot = 0;
  std::uint64_t page = 0;
  friend bool operator==(const RingPage&, const RingPage&) = default;
};

// The kernel publishes entries in order by setting DIRTY; the reader takes them in the same order
// and sets RESET; KVM_RESET_DIRTY_RINGS gives the entries marked so back, again in order, and
// protects their pages. One reader at a time; the kernel may publish meanwhile.
class DirtyRing {
 public:
  // A power of two of entries, shared with the kernel. They must outlive this.
  explicit DirtyRing(std::span<kvm_dirty_gfn> entries) : entries_(entries) {}

  // Hands every published entry to `take(RingPage)`; returns how many there were. At most one lap,
  // so that a guest that goes on writing cannot keep the reader for ever.
  template <typename Take>
  std::size_t harvest(Take take) {
    for (std::size_t count = 0; count < entries_.size(); ++count) {
      kvm_dirty_gfn& entry = entries_[next_ & (entries_.size() - 1)];
      const std::atomic_ref<__u32> flags(entry.flags);
      // Acquire: the kernel writes slot and page before it sets the flag.
      if ((flags.load(std::memory_order_acquire) & KVM_DIRTY_GFN_F_MASK) != KVM_DIRTY_GFN_F_DIRTY) {
        return count;
      }
      take(RingPage{entry.slot, entry.offset});
      // Release: from here on the kernel may use the entry again.
      flags.store(KVM_DIRTY_GFN_F_RESET, std::memory_order_release);
      ++next_;
    }
    return entries_.size();
  }

 private:
  std::span<kvm_dirty_gfn> entries_;
  std::size_t next_ = 0;
};

}  // namespace stasis::kvm
