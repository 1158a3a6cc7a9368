#include "snapshot/worker_threads.h"

#include <system_error>
#include <thread>
#include <vector>

namespace stasis::snapshot::internal {

void run_on_threads(std::uint32_t threads, const std::function<void()>& work) {
  std::vector<std::thread> others;
  others.reserve(kThreadsMax);
  try {
    while (others.size() + 1 < threads && others.size() + 1 < kThreadsMax) {
      others.emplace_back(work);
    }
  } catch (const std::system_error&) {
    // The caller's own thread does what is left.
  }
  work();
  for (std::thread& thread : others) {
    thread.join();
  }
}

}  // namespace stasis::snapshot::internal
