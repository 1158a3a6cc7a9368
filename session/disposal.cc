#include "session/disposal.h"

#include <utility>

#include "snapshot/file_system.h"
#include "snapshot/operations.h"

namespace stasis::session {

Result<std::unique_ptr<Disposal>> Disposal::start() {
  std::unique_ptr<Disposal> disposal(new Disposal());
  STASIS_ASSIGN(disposal->thread_,
                HostThread::start("the thread that removes snapshots",
                                  [worker = disposal.get()] { worker->work(); }));
  return disposal;
}

Disposal::~Disposal() {
  {
    const MutexLock lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Disposal::take(std::string directory) {
  {
    const MutexLock lock(mutex_);
    directories_.push_back(std::move(directory));
  }
  changed_.notify_all();
}

void Disposal::await_at_most(std::size_t count) {
  const MutexLock lock(mutex_);
  while (directories_.size() > count) {
    changed_.wait(mutex_);
  }
}

void Disposal::work() {
  for (;;) {
    std::string directory;
    {
      const MutexLock lock(mutex_);
      while (directories_.empty() && !ending_) {
        changed_.wait(mutex_);
      }
      if (directories_.empty()) {
        return;
      }
      directory = directories_.front();
    }
    snapshot::discard(snapshot::posix_file_system(), directory);
    {
      const MutexLock lock(mutex_);
      directories_.pop_front();
    }
    changed_.notify_all();
  }
}

}  // namespace stasis::session
