// Guest RAM as KVM knows it: memory slots, some of which may be registered in the background.
//
// Registering a slot costs time in proportion to its size where KVM keeps a reverse map (shadow
// paging: 0.5 ms a GiB measured), which would make the first instruction of a restored guest depend
// on the size of its RAM. Deferral::kAllowed therefore registers the first kFirstWindowBytes at
// once and the rest, in address order, on a thread of its own while the guest already runs.
// docs/decisions/0008 says why no guest can tell, and under which conditions that holds.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/address.h"
#include "core/guest_memory.h"
#include "core/host_thread.h"
#include "core/mutex.h"
#include "core/result.h"
#include "kvm/kvm_fd.h"
#include "kvm/options.h"

namespace stasis::kvm {

struct MemorySlot {
  std::uint32_t id = 0;
  GpaRange range;
  std::byte* host = nullptr;
};

// Threads: add() and set_flags() from the Vm's owner thread; the rest from any thread.
class MemorySlots {
 public:
  using BeforeDeferred = std::function<void(GpaRange)>;  // Options::before_deferred_slot.

  // `vm` must outlive this.
  MemorySlots(const KvmFd& vm, std::uint32_t slots_max, BeforeDeferred before_deferred)
      : vm_(vm), slots_max_(slots_max), before_deferred_(std::move(before_deferred)) {}
  ~MemorySlots();
  MemorySlots(const MemorySlots&) = delete;
  MemorySlots& operator=(const MemorySlots&) = delete;
  MemorySlots(MemorySlots&&) = delete;
  MemorySlots& operator=(MemorySlots&&) = delete;

  // Once. On an error some slots may be registered: the VM must be destroyed.
  Result<void> add(GuestMemory& memory, std::uint32_t flags, Deferral deferral, SlotSizes sizes);

  [[nodiscard]] bool all_registered() const noexcept {
    return registered_.load(std::memory_order_acquire) >= slots_.size();
  }
  // Waits for the background thread. An error is the kernel's refusal of a slot.
  Result<void> wait_all();
  // Waits until the slot that holds `gpa`, which must be RAM, is registered.
  Result<void> wait_for(Gpa gpa);
  // The host bytes of [gpa, gpa + bytes) if they lie within one slot; empty if not RAM.
  [[nodiscard]] std::span<std::byte> host_bytes(Gpa gpa, std::uint64_t bytes) const noexcept;
  // The lowest address that may not be registered yet.
  [[nodiscard]] Gpa first_pending() const noexcept;

  // All slots again, with other flags. Waits for all first.
  Result<void> set_flags(std::uint32_t flags);
  // In address order; immutable after add().
  [[nodiscard]] std::span<const MemorySlot> slots() const noexcept { return slots_; }
  [[nodiscard]] std::uint32_t flags() const noexcept { return flags_; }

 private:
  Result<void> register_slot(const MemorySlot& slot, std::uint32_t flags) const;
  void register_deferred();
  [[nodiscard]] const MemorySlot* find(Gpa gpa) const noexcept;
  Result<void> wait_until(std::size_t count);

  // Constant after add().
  const KvmFd& vm_;
  std::uint32_t slots_max_;
  BeforeDeferred before_deferred_;
  std::vector<MemorySlot> slots_;
  // Owner thread only.
  std::uint32_t flags_ = 0;
  HostThread background_;
  // How many of slots_, from the front, the kernel knows. Released by the background thread after
  // each slot; kFailed, the largest value, when it gave up, so that every waiter wakes.
  std::atomic<std::size_t> registered_ = 0;
  std::atomic<bool> stop_ = false;  // Relaxed: only says that the answer is no longer wanted.
  Mutex mutex_;
  Result<void> outcome_ STASIS_GUARDED_BY(mutex_);
};

}  // namespace stasis::kvm
