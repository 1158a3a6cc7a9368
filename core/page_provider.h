// PageProvider: whoever brings in pages of guest RAM when they are touched, and other work that
// goes on behind a GuestMemory for as long as it lives.
//
// A provider that cannot bring in a page must not let a guest go on without it. It says so: from
// then on check() fails, which every vCPU asks at each exit and every reader of guest memory when
// it is done, and the vCPUs are called out of the guest.
#pragma once

#include <functional>

#include "core/result.h"

namespace stasis {

// Thread-safe. The destructor ends what goes on in the background; nobody may touch the memory
// meanwhile.
class PageProvider {
 public:
  virtual ~PageProvider() = default;
  // Whether every page that was touched is what it should be; for ever an error after one that was
  // not. Costs next to nothing.
  [[nodiscard]] virtual Result<void> check() const = 0;
  // Brings in all that is missing and leaves ordinary memory behind: for whoever needs memory of
  // which no other descriptor is notified, or forks. Guests may run meanwhile.
  virtual Result<void> provide_all() = 0;
  // `called` once when check() begins to fail, at once if it does already, on any thread; empty:
  // nobody any more. It must not touch guest memory, and is not running any more when this returns.
  virtual void on_failure(std::function<void()> called) = 0;
};

}  // namespace stasis
