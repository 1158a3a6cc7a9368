#include "snapshot/restore/filler.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "core/mutex.h"
#include "core/text.h"
#include "snapshot/checksum.h"
#include "snapshot/page_codec.h"
#include "snapshot/restore/chunk_parts.h"
#include "snapshot/restore/fill_schedule.h"
#include "snapshot/restore/held_chunks.h"
#include "snapshot/restore/payload_window.h"
#include "snapshot/worker_threads.h"

namespace stasis::snapshot::internal {
namespace {

// Fills areas on one thread. Its buffers live as long as it does.
class Worker {
 public:
  // `windows_bytes_max`: of all the payload that is mapped at a time.
  Worker(Verify verify, std::uint64_t windows_bytes_max, std::span<const PayloadSource> sources,
         GuestMemory& memory)
      : verify_(verify),
        windows_bytes_max_(windows_bytes_max),
        sources_(sources),
        memory_(memory) {}

  // The jobs of one area.
  Result<void> fill(std::span<const FillJob> jobs) {
    std::vector<JobParts> work;
    work.reserve(jobs.size());
    for (const FillJob& job : jobs) {
      source_ = &sources_[job.source->depth];
      STASIS_ASSIGN(std::vector<ChunkPart> parts, parts_of(job, *source_, verify_));
      work.push_back({source_, std::move(parts)});
    }
    STASIS_TRY(open_windows(work));
    for (const JobParts& job : work) {
      source_ = job.source;
      const auto window = windows_.find(source_);
      window_ = window == windows_.end() ? nullptr : &window->second;
      for (const ChunkPart& part : job.parts) {
        if (auto result = fill_part(part); !result) {
          return std::move(result).error().with_context("payload '" + source_->file->path() +
                                                        "': guest memory " + describe(part.whole));
        }
      }
    }
    return close_windows();
  }

 private:
  // Maps the stretch of each payload that an area needs, where that is worth it; from the others
  // chunks are read singly.
  Result<void> open_windows(const std::vector<JobParts>& work) {
    windows_.clear();
    std::map<const PayloadSource*, Stretch> stretches;
    for (const JobParts& job : work) {
      Stretch& stretch = stretches[job.source];
      for (const ChunkPart& part : job.parts) {
        STASIS_TRY(check_inside(part, *job.source->file));
        stretch.add(part);
      }
    }
    std::vector<std::pair<const PayloadSource*, Stretch>> by_use(stretches.begin(),
                                                                 stretches.end());
    std::sort(by_use.begin(), by_use.end(), [](const auto& a, const auto& b) {
      return a.second.used_bytes > b.second.used_bytes;
    });
    std::uint64_t open_bytes = 0;
    for (const auto& [source, stretch] : by_use) {
      if (source->file->fd() < 0 || !stretch.is_worth_mapping() ||
          open_bytes + stretch.size() > windows_bytes_max_) {
        continue;
      }
      if (auto result = windows_[source].open(source->file->fd(), stretch.begin, stretch.size());
          !result) {
        return std::move(result).error().with_context("payload '" + source->file->path() + "'");
      }
      open_bytes += stretch.size();
    }
    return {};
  }

  Result<void> close_windows() {
    for (const auto& [source, window] : windows_) {
      if (auto intact = window.check(); !intact) {
        return std::move(intact).error().with_context("payload '" + source->file->path() + "'");
      }
    }
    windows_.clear();
    return {};
  }

  // The payload's bytes by the window; empty without one.
  [[nodiscard]] std::span<const std::byte> mapped(std::uint64_t offset,
                                                  std::uint64_t size_bytes) const {
    return window_ == nullptr ? std::span<const std::byte>() : window_->bytes(offset, size_bytes);
  }

  Result<void> fill_part(const ChunkPart& part) {
    STASIS_ASSIGN(const std::span<std::byte> out, memory_.writable_view(part.wanted));
    const bool whole = part.wanted == part.whole;
    if (!part.is_stored_raw()) {
      return whole ? decompress(part, out) : fill_through_scratch(part, out);
    }
    const Chunk& chunk = part.chunk;
    const std::uint64_t skipped = part.wanted.begin.value - part.whole.begin.value;
    if (verify_ == Verify::kOff) {
      const auto bytes = mapped(chunk.file_offset + skipped, out.size());
      if (bytes.empty()) {
        return source_->file->read_at(chunk.file_offset + skipped, out);
      }
      copy_to_memory(bytes, out.data());
      return {};
    }
    return whole ? read_checked(part, out, CopyTo::kMemory) : fill_through_scratch(part, out);
  }

  // A raw chunk, by one pass over its bytes where the window shows them.
  Result<void> read_checked(const ChunkPart& part, std::span<std::byte> out, CopyTo to) {
    const Chunk& chunk = part.chunk;
    const auto bytes = mapped(chunk.file_offset, chunk.stored_bytes);
    if (!bytes.empty()) {
      return compare(part, copy_with_checksum(bytes, part.whole.begin, out.data(), to));
    }
    STASIS_TRY(source_->file->read_at(chunk.file_offset, out));
    return check(part, out);
  }

  // For a part of a chunk that can only be had, or only be checked, whole. Where a newer snapshot
  // covers single pages of it, its pieces come one after another: the chunk is kept for them.
  Result<void> fill_through_scratch(const ChunkPart& part, std::span<std::byte> out) {
    const HeldChunk* held = held_.find(*source_, part.index);
    if (held == nullptr) {
      HeldChunk& fresh = held_.make(*source_, part.index, part.whole.size);
      if (auto read = part.is_stored_raw() ? read_checked(part, fresh.bytes, CopyTo::kCache)
                                           : decompress(part, fresh.bytes);
          !read) {
        held_.forget(fresh);
        return read;
      }
      held = &fresh;
    }
    std::memcpy(out.data(), held->bytes.data() + (part.wanted.begin.value - part.whole.begin.value),
                out.size());
    return {};
  }

  Result<void> decompress(const ChunkPart& part, std::span<std::byte> out) {
    const Chunk& chunk = part.chunk;
    auto stored = mapped(chunk.file_offset, chunk.stored_bytes);
    if (stored.empty()) {
      stored_.resize(chunk.stored_bytes);
      STASIS_TRY(source_->file->read_at(chunk.file_offset, stored_));
      stored = stored_;
    }
    STASIS_TRY(decompress_chunk(stored, out));
    return check(part, out);
  }

  Result<void> check(const ChunkPart& part, std::span<const std::byte> raw) const {
    return verify_ == Verify::kOff ? Result<void>{}
                                   : compare(part, chunk_checksum(raw, part.whole.begin));
  }

  static Result<void> compare(const ChunkPart& part, std::uint64_t checksum) {
    if (checksum != part.chunk.checksum) {
      return Error{Errc::kCorruption, 0,
                   "the checksum of the chunk at file offset " +
                       std::to_string(part.chunk.file_offset) +
                       " is wrong: the payload has changed since it was saved"};
    }
    return {};
  }

  Verify verify_;
  std::uint64_t windows_bytes_max_;
  std::span<const PayloadSource> sources_;
  GuestMemory& memory_;
  std::map<const PayloadSource*, PayloadWindow> windows_;  // Of the current area.
  const PayloadSource* source_ = nullptr;                  // Of the current job.
  const PayloadWindow* window_ = nullptr;                  // Its payload's, or null.
  HeldChunks held_;
  std::vector<std::byte> stored_;  // Scratch; at most one chunk.
};

enum class Reports : std::uint8_t { kYes, kNo };

// Hands areas to workers and keeps the failure with the lowest address, so that a damaged snapshot
// gives the same message whatever the timing. Thread-safe.
class Progress {
 public:
  Progress(const FillSchedule& schedule, const Supervision& supervision)
      : schedule_(schedule), supervision_(supervision) {
    for (const FillJob& job : schedule_.jobs) {
      total_bytes_ += job.range.size;
    }
  }

  // Takes areas until there are none left, one has failed, or nobody wants them any more. One
  // thread of all tells how far they are.
  void work(Worker& worker, Reports reports) {
    for (;;) {
      // Relaxed: the counter only hands out numbers, joining the threads orders the rest.
      const std::size_t area = next_area_.fetch_add(1, std::memory_order_relaxed);
      if (area + 1 >= schedule_.area_starts.size() || failed(area)) {
        return;
      }
      if (supervision_.cancelled()) {
        fail(area, cancelled_error());
        return;
      }
      const std::span<const FillJob> jobs = schedule_.area(area);
      if (auto result = worker.fill(jobs); !result) {
        fail(area, std::move(result).error());
        return;
      }
      for (const FillJob& job : jobs) {
        // Relaxed: a number to show.
        done_bytes_.fetch_add(job.range.size, std::memory_order_relaxed);
      }
      if (reports == Reports::kYes) {
        report(done_bytes_.load(std::memory_order_relaxed));
      }
    }
  }

  Result<void> outcome() {
    const MutexLock lock(mutex_);
    if (failure_) {
      return *std::move(failure_);
    }
    report(total_bytes_);
    return {};
  }

 private:
  void report(std::uint64_t done_bytes) const {
    if (supervision_.progress) {
      supervision_.progress(done_bytes, total_bytes_);
    }
  }
  // An area below the failed one is still worth its error.
  bool failed(std::size_t area) {
    const MutexLock lock(mutex_);
    return failure_.has_value() && area > failed_area_;
  }
  void fail(std::size_t area, Error error) {
    const MutexLock lock(mutex_);
    if (!failure_ || area < failed_area_) {
      failed_area_ = area;
      failure_ = std::move(error);
    }
  }

  const FillSchedule& schedule_;
  const Supervision& supervision_;
  std::uint64_t total_bytes_ = 0;  // Constant after construction.
  std::atomic<std::uint64_t> done_bytes_ = 0;
  std::atomic<std::size_t> next_area_ = 0;
  Mutex mutex_;
  std::optional<Error> failure_ STASIS_GUARDED_BY(mutex_);
  std::size_t failed_area_ STASIS_GUARDED_BY(mutex_) = 0;
};

}  // namespace

Result<void> fill_memory(const RestorePlan& plan, std::span<const PayloadSource> sources,
                         GuestMemory& memory, const Supervision& supervision) {
  const FillSchedule schedule = make_schedule(plan);
  if (schedule.jobs.empty()) {
    return {};
  }
  const std::size_t areas = schedule.area_starts.size() - 1;
  const std::size_t threads = std::min<std::size_t>({plan.threads, areas, kFillThreadsMax});
  std::deque<Worker> workers;  // They cannot be moved.
  for (std::size_t i = 0; i < threads; ++i) {
    // As much as one payload alone may take of an area: chunks may lie up to twice as far apart.
    workers.emplace_back(plan.verify, 2 * schedule.area_bytes, sources, memory);
  }
  Progress progress(schedule, supervision);
  std::atomic<std::size_t> next_worker = 0;  // Relaxed: it only hands out numbers.
  run_on_threads(static_cast<std::uint32_t>(threads), [&, caller = std::this_thread::get_id()] {
    const bool here = std::this_thread::get_id() == caller;
    progress.work(workers[next_worker.fetch_add(1, std::memory_order_relaxed)],
                  here ? Reports::kYes : Reports::kNo);
  });
  return progress.outcome();
}

}  // namespace stasis::snapshot::internal
