// The part of DirtyTracker's contract that is the same for all: what may be called when.
#pragma once

#include "core/result.h"

namespace stasis::snapshot::internal {

// Value.
class ArmedState {
 public:
  [[nodiscard]] bool armed() const { return armed_; }
  void set(bool armed) { armed_ = armed; }

  [[nodiscard]] Result<void> check_can_arm() const {
    if (armed_) {
      return Error{Errc::kInvalidArgument, 0,
                   "dirty tracker: arm() while already armed; call disarm() first"};
    }
    return {};
  }
  [[nodiscard]] Result<void> check_can_collect() const {
    if (!armed_) {
      return Error{Errc::kInvalidArgument, 0,
                   "dirty tracker: collect() while not armed; call arm() first"};
    }
    return {};
  }

 private:
  bool armed_ = false;
};

}  // namespace stasis::snapshot::internal
