#include "snapshot/worker_threads.h"

#include <utility>
#include <vector>

#include "core/host_thread.h"

namespace stasis::snapshot::internal {

void run_on_threads(std::uint32_t threads, const std::function<void()>& work) {
  std::vector<HostThread> others;
  while (others.size() + 1 < threads && others.size() + 1 < kThreadsMax) {
    Result<HostThread> started = HostThread::start("a worker thread", work);
    if (!started) {
      break;  // The caller's own thread does what is left.
    }
    others.push_back(*std::move(started));
  }
  work();
}

}  // namespace stasis::snapshot::internal
