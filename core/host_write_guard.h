// Who is asked before the host itself writes to guest memory: the host's half of a write fault.
#pragma once

#include "core/address.h"

namespace stasis {

class HostWriteGuard {
 public:
  virtual ~HostWriteGuard() = default;
  // Just before bytes of `range`, which is guest memory, change; on the writing thread, several at
  // a time. May wait.
  virtual void before_host_write(GpaRange range) = 0;
};

}  // namespace stasis
