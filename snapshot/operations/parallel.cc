#include "snapshot/operations/parallel.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>

#include "core/mutex.h"
#include "snapshot/worker_threads.h"

namespace stasis::snapshot::internal {
namespace {

// What the threads share. Thread-safe.
class Pieces {
 public:
  Pieces(std::size_t count, std::uint64_t total_bytes, const Supervision& supervision)
      : count_(count), total_bytes_(total_bytes), supervision_(supervision) {}

  // The next index; nothing when there is no more, or none should be started any more.
  std::optional<std::size_t> take() {
    const MutexLock lock(mutex_);
    if (failure_) {
      return std::nullopt;
    }
    if (next_ < count_ && supervision_.cancelled()) {
      failure_ = cancelled_error();
      failed_index_ = next_;
      return std::nullopt;
    }
    return next_ < count_ ? std::optional(next_++) : std::nullopt;
  }

  void done(std::uint64_t bytes) {
    const MutexLock lock(mutex_);
    done_bytes_ += bytes;
    if (supervision_.progress) {
      supervision_.progress(done_bytes_, total_bytes_);
    }
  }

  void fail(std::size_t index, Error error) {
    const MutexLock lock(mutex_);
    if (!failure_ || index < failed_index_) {
      failure_ = std::move(error);
      failed_index_ = index;
    }
  }

  Result<void> outcome() {
    const MutexLock lock(mutex_);
    if (failure_) {
      return *std::move(failure_);
    }
    return {};
  }

 private:
  // Constant after construction.
  const std::size_t count_;
  const std::uint64_t total_bytes_;
  const Supervision& supervision_;
  Mutex mutex_;
  std::size_t next_ STASIS_GUARDED_BY(mutex_) = 0;
  std::uint64_t done_bytes_ STASIS_GUARDED_BY(mutex_) = 0;
  std::optional<Error> failure_ STASIS_GUARDED_BY(mutex_);
  std::size_t failed_index_ STASIS_GUARDED_BY(mutex_) = 0;
};

}  // namespace

Result<void> for_each_piece(
    std::size_t count, std::uint32_t threads, std::uint64_t total_bytes,
    const Supervision& supervision, const std::function<std::uint64_t(std::size_t index)>& sizes,
    const std::function<Result<void>(std::size_t thread, std::size_t index)>& work) {
  Pieces pieces(count, total_bytes, supervision);
  std::atomic<std::size_t> started = 0;  // Relaxed: it only hands out numbers.
  const std::size_t workers = std::clamp<std::size_t>(threads, 1, std::max<std::size_t>(count, 1));
  run_on_threads(static_cast<std::uint32_t>(std::min<std::size_t>(workers, kThreadsMax)), [&] {
    const std::size_t thread = started.fetch_add(1, std::memory_order_relaxed);
    while (const std::optional<std::size_t> index = pieces.take()) {
      if (Result<void> result = work(thread, *index); !result) {
        pieces.fail(*index, std::move(result).error());
        return;
      }
      pieces.done(sizes(*index));
    }
  });
  return pieces.outcome();
}

}  // namespace stasis::snapshot::internal
