// The one virtual counter of a VM over saves and restores: every vCPU's timer has the same offset,
// and a snapshot holds what the guest counted, not what this host counts.
//
// In Arm64VirtualTimer::offset of a *saved* state the host's counter counts as zero at the save:
// the guest's count is 0 - offset. So it means the same on every host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "core/mutex.h"

namespace stasis::hvf {

// Thread-safe.
class GuestClock {
 public:
  // `now` reads the host's counter, 24 MHz.
  explicit GuestClock(std::function<std::uint64_t()> now) : now_(std::move(now)) {}

  // Brackets the time in which a vCPU is in the guest.
  void enter();
  void leave();

  // The host's counter at which the guest stands while no vCPU is in it: the same for all vCPUs
  // that are saved in one pause.
  std::uint64_t stopped_at();
  // The host's counter at which the states of a load go on: of the `generation`th load of each vCPU
  // of the VM, which all are loaded equally often.
  std::uint64_t continues_at(std::size_t generation);

 private:
  const std::function<std::uint64_t()> now_;
  Mutex mutex_;
  std::uint32_t in_guest_ STASIS_GUARDED_BY(mutex_) = 0;
  bool is_stopped_ STASIS_GUARDED_BY(mutex_) = false;  // stopped_at_ is of this pause.
  std::uint64_t stopped_at_ STASIS_GUARDED_BY(mutex_) = 0;
  std::vector<std::uint64_t> generations_ STASIS_GUARDED_BY(mutex_);
};

// The offset in a saved state of a timer that had `offset` when the guest stood at `stopped_at`,
// and back.
constexpr std::uint64_t saved_offset(std::uint64_t offset, std::uint64_t stopped_at) {
  return offset - stopped_at;
}
constexpr std::uint64_t loaded_offset(std::uint64_t saved, std::uint64_t continues_at) {
  return saved + continues_at;
}

}  // namespace stasis::hvf
