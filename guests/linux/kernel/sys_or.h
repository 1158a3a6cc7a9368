// How the parts of a Linux guest's kernel report failure to each other: with errno numbers, as the
// guest will see them. Result<T> is for what the owner of the kernel sees.
#pragma once

#include <cstdint>
#include <limits>
#include <utility>

#include "core/check.h"
#include "guests/linux/address_space.h"

namespace stasis::linux_guest {

struct Errno {
  int value = 0;  // Positive, as in errno.h.
};

// A T, or an errno.
template <typename T>
class [[nodiscard]] SysOr {
 public:
  SysOr(T value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor)
  SysOr(Errno error) : error_(error.value) {}   // NOLINT(google-explicit-constructor)
  [[nodiscard]] bool ok() const { return error_ == 0; }
  [[nodiscard]] SysResult error() const { return -SysResult{error_}; }  // 0 if ok().
  [[nodiscard]] Errno code() const { return Errno{error_}; }
  T& operator*() {
    STASIS_CHECK(ok());
    return value_;
  }
  T* operator->() { return &**this; }

 private:
  T value_{};
  int error_ = 0;
};

// What a handler returns besides a value or -errno; outside of what either can be.
constexpr SysResult kBlocked = std::numeric_limits<SysResult>::min();  // The thread waits.
constexpr SysResult kRegistersSet = kBlocked + 1;  // The registers are as they shall be.

}  // namespace stasis::linux_guest
