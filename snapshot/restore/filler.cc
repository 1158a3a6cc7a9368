#include "snapshot/restore/filler.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <optional>
#include <thread>
#include <utility>

#include "core/mutex.h"
#include "core/text.h"
#include "snapshot/checksum.h"
#include "snapshot/page_codec.h"
#include "snapshot/restore/fill_schedule.h"
#include "snapshot/restore/payload_window.h"
#include "snapshot/worker_threads.h"

namespace stasis::snapshot::internal {
namespace {

// Below this a system call that copies is cheaper than two that map and unmap.
constexpr std::uint64_t kWindowBytesMin = std::uint64_t{256} << 10U;

// One chunk of an extent, as far as a job needs it. Value.
struct ChunkPart {
  Chunk chunk;
  GpaRange whole;   // The guest memory that the chunk holds.
  GpaRange wanted;  // The part of it to be filled.
  [[nodiscard]] bool is_stored_raw() const { return chunk.stored_bytes == whole.size; }
};

// Fills jobs on one thread. Its buffers live as long as it does.
class Worker {
 public:
  Worker(Verify verify, std::span<const PayloadSource> sources, GuestMemory& memory)
      : verify_(verify), sources_(sources), memory_(memory) {}

  Result<void> fill(const FillJob& job) {
    source_ = &sources_[job.source->depth];
    STASIS_ASSIGN(const std::vector<ChunkPart> parts, parts_of(job));
    STASIS_TRY(open_window(parts));
    for (const ChunkPart& part : parts) {
      if (auto result = fill_part(part); !result) {
        return std::move(result).error().with_context("payload '" + source_->file->path() +
                                                      "': guest memory " + describe(part.whole));
      }
    }
    if (auto intact = window_.check(); !intact) {
      return std::move(intact).error().with_context("payload '" + source_->file->path() + "'");
    }
    window_.close();
    return {};
  }

 private:
  // The chunk table comes from a file: every index is checked here, every offset when it is read.
  Result<std::vector<ChunkPart>> parts_of(const FillJob& job) const {
    const Extent& extent = job.source->extent;
    const std::uint64_t chunk_bytes = source_->chunk_bytes;
    const std::uint64_t first =
        job.range.begin.value / chunk_bytes - extent.range.begin.value / chunk_bytes;
    const std::uint64_t last = first + chunk_count_of(job.range, chunk_bytes) - 1;
    // Raw bytes lie where the extent says; only their checksums are in the table.
    const bool raw = extent.kind == ExtentKind::kRaw;
    const bool use_table = !raw || verify_ == Verify::kOn;
    if (use_table && !fits(extent.first_chunk + first, last - first + 1, source_->chunks.size())) {
      return Error{Errc::kCorruption, 0,
                   "snapshot of '" + source_->file->path() + "': extent " + describe(extent.range) +
                       " needs chunks beyond the " + std::to_string(source_->chunks.size()) +
                       " of its index"};
    }
    std::vector<ChunkPart> parts;
    parts.reserve(last - first + 1);
    for (std::uint64_t i = first; i <= last; ++i) {
      ChunkPart part;
      part.whole = chunk_range_of(extent.range, i, chunk_bytes);
      if (use_table) {
        part.chunk = source_->chunks[extent.first_chunk + i];
      }
      if (raw) {
        part.chunk.file_offset =
            extent.file_offset + (part.whole.begin.value - extent.range.begin.value);
        part.chunk.stored_bytes = static_cast<std::uint32_t>(part.whole.size);
      }
      part.wanted.begin = std::max(part.whole.begin, job.range.begin);
      const Gpa end = std::min(part.whole.end(), job.range.end());
      part.wanted.size = end.value - part.wanted.begin.value;
      parts.push_back(part);
    }
    return parts;
  }

  // Maps the job's stretch of the payload if that is worth it; otherwise chunks are read singly.
  Result<void> open_window(const std::vector<ChunkPart>& parts) {
    window_.close();
    std::uint64_t begin = UINT64_MAX;
    std::uint64_t end = 0;
    std::uint64_t sum = 0;
    for (const ChunkPart& part : parts) {
      const Chunk& chunk = part.chunk;
      if (!fits(chunk.file_offset, chunk.stored_bytes, source_->file->size_bytes())) {
        return Error{Errc::kCorruption, 0,
                     "payload '" + source_->file->path() + "': the chunk of guest memory " +
                         describe(part.whole) + " ends at offset " +
                         std::to_string(chunk.file_offset) + " + " +
                         std::to_string(chunk.stored_bytes) + ", but the file has " +
                         std::to_string(source_->file->size_bytes()) +
                         " bytes: it was cut short or belongs to another snapshot"};
      }
      begin = std::min(begin, chunk.file_offset);
      end = std::max(end, chunk.file_offset + chunk.stored_bytes);
      sum += chunk.stored_bytes;
    }
    // Chunks that lie far apart would map much more than they use.
    if (source_->file->fd() < 0 || end - begin < kWindowBytesMin || (end - begin) / 2 > sum) {
      return {};
    }
    if (auto result = window_.open(source_->file->fd(), begin, end - begin); !result) {
      return std::move(result).error().with_context("payload '" + source_->file->path() + "'");
    }
    return {};
  }

  Result<void> fill_part(const ChunkPart& part) {
    STASIS_ASSIGN(const std::span<std::byte> out, memory_.writable_view(part.wanted));
    const bool whole = part.wanted == part.whole;
    if (!part.is_stored_raw()) {
      return whole ? decompress(part, out) : fill_through_scratch(part, out);
    }
    const Chunk& chunk = part.chunk;
    const auto mapped = window_.bytes(chunk.file_offset, chunk.stored_bytes);
    const std::uint64_t skipped = part.wanted.begin.value - part.whole.begin.value;
    if (!mapped.empty()) {
      if (whole && verify_ == Verify::kOn) {
        return compare(part, copy_with_checksum(mapped, part.whole.begin, out.data()));
      }
      STASIS_TRY(check(part, mapped));
      std::memcpy(out.data(), mapped.data() + skipped, out.size());
      return {};
    }
    if (whole || verify_ == Verify::kOff) {
      STASIS_TRY(source_->file->read_at(chunk.file_offset + skipped, out));
      return verify_ == Verify::kOff ? Result<void>{} : check(part, out);
    }
    return fill_through_scratch(part, out);
  }

  // For a part of a chunk that can only be had, or only be checked, whole.
  Result<void> fill_through_scratch(const ChunkPart& part, std::span<std::byte> out) {
    raw_.resize(part.whole.size);
    if (part.is_stored_raw()) {
      STASIS_TRY(source_->file->read_at(part.chunk.file_offset, raw_));
      STASIS_TRY(check(part, raw_));
    } else {
      STASIS_TRY(decompress(part, raw_));
    }
    std::memcpy(out.data(), raw_.data() + (part.wanted.begin.value - part.whole.begin.value),
                out.size());
    return {};
  }

  Result<void> decompress(const ChunkPart& part, std::span<std::byte> out) {
    const Chunk& chunk = part.chunk;
    auto stored = window_.bytes(chunk.file_offset, chunk.stored_bytes);
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
  std::span<const PayloadSource> sources_;
  GuestMemory& memory_;
  const PayloadSource* source_ = nullptr;  // Of the current job.
  PayloadWindow window_;
  std::vector<std::byte> raw_, stored_;  // Scratch; at most one chunk each.
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
      for (std::size_t i = schedule_.area_starts[area]; i < schedule_.area_starts[area + 1]; ++i) {
        if (auto result = worker.fill(schedule_.jobs[i]); !result) {
          fail(area, std::move(result).error());
          return;
        }
        // Relaxed: a number to show.
        done_bytes_.fetch_add(schedule_.jobs[i].range.size, std::memory_order_relaxed);
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
    workers.emplace_back(plan.verify, sources, memory);
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
