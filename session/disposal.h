// Removing snapshots beside the work: where the file system tells its device about every freed
// block (ext4 with `discard`), removing 200 MiB was measured to take 14 s.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <string>

#include "core/host_thread.h"
#include "core/mutex.h"
#include "core/result.h"

namespace stasis::session {

// One thread that removes hidden directories (snapshot/operations.h: discard()). take() from any
// thread. Destruction waits until all of them are gone.
class Disposal {
 public:
  static Result<std::unique_ptr<Disposal>> start();
  ~Disposal();
  Disposal(const Disposal&) = delete;
  Disposal& operator=(const Disposal&) = delete;

  void take(std::string directory);
  // Waits until at most `count` of them are left.
  void await_at_most(std::size_t count);

 private:
  Disposal() = default;
  void work();

  Mutex mutex_;
  ConditionVariable changed_;
  // The first one is being removed.
  std::deque<std::string> directories_ STASIS_GUARDED_BY(mutex_);
  bool ending_ STASIS_GUARDED_BY(mutex_) = false;
  HostThread thread_;  // Last: it uses the others.
};

}  // namespace stasis::session
