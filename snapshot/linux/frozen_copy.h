// A copy of this process's private memory as it was at one moment, held by a child that does
// nothing. The kernel copies a page only when one of the two writes to it: the child never does.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>

#include "core/result.h"
#include "core/unique_fd.h"

namespace stasis::snapshot::internal {

// The child is a fork with all signals blocked and every descriptor closed (Linux 5.9) but the end
// of a pipe whose other end only this process has, so that it ends when this process does. It is no
// child that wait() for any child would find, and sends no signal. A hypervisor's VM stays this
// process's alone: the child has neither its descriptors nor, in the kernel's eyes, the right to
// use it.
//
// Resource; the destructor ends the child. Reading is thread-safe.
class FrozenCopy {
 public:
  // Nobody may write to what will be read while this runs. Takes time in proportion to what is
  // resident, and every page written afterwards costs a copy. kIo, with a cure, if the system
  // allows no further process.
  static Result<FrozenCopy> take();
  ~FrozenCopy();
  FrozenCopy(FrozenCopy&& other) noexcept;
  FrozenCopy& operator=(FrozenCopy&& other) noexcept;
  FrozenCopy(const FrozenCopy&) = delete;
  FrozenCopy& operator=(const FrozenCopy&) = delete;

  // What was at `address` of this process, `out.size()` bytes of it. Of memory that was shared with
  // others it is what is there now.
  Result<void> read(const std::byte* address, std::span<std::byte> out) const;
  [[nodiscard]] pid_t child() const { return child_; }

 private:
  FrozenCopy(pid_t child, UniqueFd pipe) : child_(child), pipe_(std::move(pipe)) {}
  void end() noexcept;

  pid_t child_ = -1;
  UniqueFd pipe_;  // Open as long as the child shall live.
};

}  // namespace stasis::snapshot::internal
