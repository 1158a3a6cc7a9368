#include "snapshot/restore/fetcher.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "core/mutex.h"
#include "snapshot/restore/direct_file.h"
#include "snapshot/worker_threads.h"

namespace stasis::snapshot::internal {
namespace {

// What is read before any of it is installed.
constexpr std::uint64_t kBatchBytes = std::uint64_t{32} << 20U;

// A recorded range cut where its source or its chunk ends.
struct Part {
  const SourceExtent* source = nullptr;
  GpaRange range;
  std::uint64_t at = 0;  // In the buffer.
};

// Calls visit(source, range) for what of `range` has sources.
template <typename Visit>
Result<void> for_each_source(std::span<const SourceExtent> sources, GpaRange range, Visit visit) {
  auto at = std::upper_bound(
      sources.begin(), sources.end(), range.begin,
      [](Gpa gpa, const SourceExtent& source) { return gpa < source.range.end(); });
  for (; at != sources.end() && at->range.begin < range.end(); ++at) {
    const Gpa begin = std::max(at->range.begin, range.begin);
    const Gpa end = std::min(at->range.end(), range.end());
    STASIS_TRY(visit(*at, GpaRange{begin, end.value - begin.value}));
  }
  return {};
}

// Private pages that can be given away. Never huge ones: the kernel would have to split them.
class Buffer {
 public:
  Buffer() = default;
  ~Buffer() { release(); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Buffer(Buffer&&) = delete;
  Buffer& operator=(Buffer&&) = delete;

  Result<void> grow(std::uint64_t bytes) {
    if (bytes <= bytes_) {
      return {};
    }
    release();
    void* const base =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
      return errno_error(errno, "map " + std::to_string(bytes) + " bytes to read a working set");
    }
    base_ = static_cast<std::byte*>(base);
    bytes_ = bytes;
    (void)::madvise(base_, bytes_, MADV_NOHUGEPAGE);  // Only time depends on it.
    return {};
  }
  [[nodiscard]] std::byte* at(std::uint64_t offset) const { return base_ + offset; }

 private:
  void release() noexcept {
    if (base_ != nullptr) {
      ::munmap(base_, bytes_);
    }
    base_ = nullptr;
    bytes_ = 0;
  }
  std::byte* base_ = nullptr;
  std::uint64_t bytes_ = 0;
};

// Reads batches into one buffer and installs them, on one thread.
class BatchFetcher {
 public:
  BatchFetcher(const MissingPages& pages, const Fetch& fetch) : pages_(pages), fetch_(fetch) {}

  Result<void> run(const std::atomic<bool>& stop) {
    for (const GpaRange& range : fetch_.ranges) {
      if (stop.load(std::memory_order_relaxed)) {  // Only time depends on when it is seen.
        return {};
      }
      STASIS_TRY(for_each_source(
          pages_.sources, range,
          [this](const SourceExtent& source, GpaRange piece) { return add(source, piece); }));
      if (batch_bytes_ >= kBatchBytes) {
        STASIS_TRY(flush());
      }
    }
    return flush();
  }

 private:
  // Zeros take no place in the buffer.
  Result<void> add(const SourceExtent& source, GpaRange range) {
    if (source.extent.kind == ExtentKind::kZero) {
      parts_.push_back({&source, range, 0});
      return {};
    }
    while (range.size != 0) {
      const GpaRange part = pages_.stored->in_one_chunk(source, range);
      parts_.push_back({&source, part, 0});
      batch_bytes_ += part.size;
      range = {part.end(), range.size - part.size};
    }
    return {};
  }

  Result<void> flush() {
    STASIS_ASSIGN(const std::vector<Part> reads, lay_out());
    for (const Part& read : reads) {
      const ReadableFile* const payload =
          fetch_.read == PayloadAccess::kDirect ? direct(read.source->depth) : nullptr;
      STASIS_TRY(pages_.stored->read(*read.source, read.range,
                                     {buffer_.at(read.at), read.range.size}, payload, scratch_));
    }
    for (const Part& part : parts_) {
      STASIS_TRY(install(part));
    }
    parts_.clear();
    batch_bytes_ = 0;
    return {};
  }

  // What to read, by address, so that each chunk is read once; gives every part its place in the
  // buffer. Of a chunk everything between its first and its last part is kept.
  Result<std::vector<Part>> lay_out() {
    std::vector<Part*> stored;
    for (Part& part : parts_) {
      if (part.source->extent.kind != ExtentKind::kZero) {
        stored.push_back(&part);
      }
    }
    std::stable_sort(stored.begin(), stored.end(),
                     [](const Part* a, const Part* b) { return a->range.begin < b->range.begin; });
    std::vector<Part> reads;
    std::uint64_t used = 0;
    for (Part* const part : stored) {
      Part* const last = reads.empty() ? nullptr : &reads.back();
      if (last != nullptr && last->source == part->source && shares_read(*last, *part)) {
        const std::uint64_t end = std::max(last->range.end(), part->range.end()).value;
        used += end - last->range.end().value;
        last->range.size = end - last->range.begin.value;
        part->at = last->at + (part->range.begin.value - last->range.begin.value);
        continue;
      }
      reads.push_back({part->source, part->range, used});
      part->at = used;
      used += part->range.size;
    }
    STASIS_TRY(buffer_.grow(used));
    return reads;
  }

  [[nodiscard]] bool shares_read(const Part& read, const Part& part) const {
    const Gpa end = read.range.end();
    if (part.range.begin <= end) {
      return true;
    }
    const Gpa last{end.value - 1};
    return part.range.begin < pages_.stored->whole_chunk(*read.source, last).end();
  }

  Result<void> install(const Part& part) {
    STASIS_ASSIGN(const std::span<std::byte> to, pages_.memory->writable_view(part.range));
    if (part.source->extent.kind == ExtentKind::kZero) {
      return pages_.faults->zero(to);
    }
    if (fetch_.by == FetchBy::kMove) {
      auto moved = pages_.faults->move(to, buffer_.at(part.at));
      // Busy: something else in the kernel holds a page for a moment. Those that moved are there.
      if (moved || moved.error().os_error != EBUSY) {
        return moved;
      }
    }
    return pages_.faults->copy(to, buffer_.at(part.at));
  }

  // Null where the file cannot be read so.
  const ReadableFile* direct(std::uint32_t depth) {
    while (direct_.size() <= depth) {
      direct_.push_back(
          open_direct(pages_.stored->reader(static_cast<std::uint32_t>(direct_.size())).payload()));
    }
    return direct_[depth].get();
  }

  const MissingPages& pages_;
  const Fetch& fetch_;
  std::vector<Part> parts_;
  std::uint64_t batch_bytes_ = 0;
  Buffer buffer_;
  ReadScratch scratch_;
  std::vector<std::unique_ptr<ReadableFile>> direct_;  // By depth, as far as needed.
};

// Each thread reads and installs runs of its own, as so many touches would have.
class ParallelFetcher {
 public:
  ParallelFetcher(const MissingPages& pages, const Fetch& fetch, const std::atomic<bool>& stop)
      : pages_(pages), fetch_(fetch), stop_(stop) {}

  Result<void> run() {
    run_on_threads(fetch_.threads, [this] { work(); });
    const MutexLock lock(mutex_);
    return failure_ ? Result<void>(*std::move(failure_)) : Result<void>();
  }

 private:
  void work() {
    ChunkCache cache(*pages_.stored);
    for (;;) {
      // Relaxed, both: the counter only hands out numbers, and joining the threads orders the rest.
      const std::size_t i = next_.fetch_add(1, std::memory_order_relaxed);
      if (i >= fetch_.ranges.size() || stop_.load(std::memory_order_relaxed)) {
        return;
      }
      auto done = for_each_source(pages_.sources, fetch_.ranges[i],
                                  [&](const SourceExtent& source, GpaRange range) {
                                    return bring_in(source, range, cache);
                                  });
      if (!done) {
        const MutexLock lock(mutex_);
        failure_ = failure_ ? std::move(failure_) : std::move(done).error();
        return;
      }
    }
  }

  Result<void> bring_in(const SourceExtent& source, GpaRange range, ChunkCache& cache) const {
    while (range.size != 0) {
      const bool zero = source.extent.kind == ExtentKind::kZero;
      const GpaRange part = zero ? range : pages_.stored->in_one_chunk(source, range);
      STASIS_ASSIGN(const std::span<std::byte> to, pages_.memory->writable_view(part));
      if (zero) {
        STASIS_TRY(pages_.faults->zero(to));
      } else {
        STASIS_ASSIGN(const std::span<const std::byte> from, cache.bytes(source, part));
        STASIS_TRY(pages_.faults->copy(to, from.data()));
      }
      range = {part.end(), range.size - part.size};
    }
    return {};
  }

  const MissingPages& pages_;
  const Fetch& fetch_;
  const std::atomic<bool>& stop_;
  std::atomic<std::size_t> next_ = 0;
  Mutex mutex_;
  std::optional<Error> failure_ STASIS_GUARDED_BY(mutex_);
};

// Asks the host to begin reading, and does not wait: a touch that is early finds it on its way.
Result<void> read_ahead(const StoredPages& stored, const SourceExtent& source, GpaRange range) {
  const ReadableFile& payload = stored.reader(source.depth).payload();
  const Extent& extent = source.extent;
  std::uint64_t offset = extent.file_offset + (range.begin.value - extent.range.begin.value);
  std::uint64_t bytes = range.size;
  if (extent.kind == ExtentKind::kLz4) {
    const std::uint64_t chunk_bytes = stored.reader(source.depth).manifest().chunk_bytes;
    const std::span<const Chunk> chunks = stored.table(source.depth).chunks;
    if (chunks.empty()) {
      return {};  // Decompressed before the guest runs.
    }
    const std::uint64_t first =
        range.begin.value / chunk_bytes - extent.range.begin.value / chunk_bytes;
    const Chunk& begin = chunks[extent.first_chunk + first];
    const Chunk& end = chunks[extent.first_chunk + first + chunk_count_of(range, chunk_bytes) - 1];
    offset = begin.file_offset;
    bytes = end.file_offset + end.stored_bytes - offset;
  }
  if (payload.fd() >= 0 && is_stored(extent.kind)) {
    (void)::posix_fadvise(payload.fd(), static_cast<off_t>(offset), static_cast<off_t>(bytes),
                          POSIX_FADV_WILLNEED);
  }
  return {};
}

}  // namespace

const SourceExtent* source_of(std::span<const SourceExtent> sources, Gpa gpa) {
  const auto at = std::upper_bound(
      sources.begin(), sources.end(), gpa,
      [](Gpa wanted, const SourceExtent& source) { return wanted < source.range.end(); });
  return at != sources.end() && at->range.contains(gpa) ? &*at : nullptr;
}

Result<void> fetch_pages(const MissingPages& pages, const Fetch& fetch,
                         const std::atomic<bool>& stop) {
  if (fetch.by == FetchBy::kPageCache) {
    for (const GpaRange& range : fetch.ranges) {
      if (stop.load(std::memory_order_relaxed)) {  // Only time depends on when it is seen.
        break;
      }
      STASIS_TRY(
          for_each_source(pages.sources, range, [&](const SourceExtent& source, GpaRange piece) {
            return read_ahead(*pages.stored, source, piece);
          }));
    }
    return {};
  }
  if (fetch.threads > 1) {
    return ParallelFetcher(pages, fetch, stop).run();
  }
  return BatchFetcher(pages, fetch).run(stop);
}

}  // namespace stasis::snapshot::internal
