#include "hvf/guest_clock.h"

namespace stasis::hvf {

void GuestClock::enter() {
  const MutexLock lock(mutex_);
  ++in_guest_;
  is_stopped_ = false;
}

void GuestClock::leave() {
  const MutexLock lock(mutex_);
  --in_guest_;
}

std::uint64_t GuestClock::stopped_at() {
  const MutexLock lock(mutex_);
  if (!is_stopped_) {
    stopped_at_ = now_();
    is_stopped_ = in_guest_ == 0;
  }
  return stopped_at_;
}

std::uint64_t GuestClock::continues_at(std::size_t generation) {
  const MutexLock lock(mutex_);
  while (generations_.size() <= generation) {
    generations_.push_back(now_());
    stopped_at_ = generations_.back();
    is_stopped_ = in_guest_ == 0;
  }
  return generations_[generation];
}

}  // namespace stasis::hvf
