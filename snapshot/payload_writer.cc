#include "snapshot/payload_writer.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/mutex.h"
#include "snapshot/block_writer.h"
#include "snapshot/checksum.h"
#include "snapshot/manifest_codec.h"
#include "snapshot/page_codec.h"
#include "snapshot/payload_units.h"
#include "snapshot/worker_threads.h"
#include "snapshot/zero_scan.h"

namespace stasis::snapshot::internal {
namespace {

// In a mappable payload shorter runs of zero pages between stored ones are stored with them: an
// extent and a seek for each would cost more than the bytes.
constexpr std::uint64_t kHoleBytesMin = std::uint64_t{16} << 10U;

// A run of pages with one fate, and its bytes. `chunks` have no file offsets yet.
struct Run {
  GpaRange range;
  bool zero = false;
  std::span<const std::byte> bytes;
  std::size_t first_chunk = 0, chunk_count = 0;  // In Scan::chunks.
  std::uint64_t stored_bytes = 0;
  std::uint64_t file_offset = 0;
};

// What one thread found out about its unit. Reused from unit to unit.
struct Scan {
  std::vector<Run> runs;
  std::vector<Chunk> chunks;
  std::vector<std::vector<std::byte>> buffers;  // For sources that have to read.
  std::vector<std::byte> compressed;
  std::size_t compressed_bytes = 0;
};

class PayloadWriter {
 public:
  PayloadWriter(const PayloadPlan& plan, const MemorySource& source, WritableFile& file,
                const Supervision& supervision)
      : plan_(plan),
        source_(source),
        file_(file),
        supervision_(supervision),
        blocks_(file, plan.write_back_early ? BlockWriter::Writeback::kEarly
                                            : BlockWriter::Writeback::kByTheKernel),
        units_(plan.regions, plan.ranges, plan.chunk_bytes),
        total_bytes_(units_.total_bytes()) {}

  Result<PayloadContents> run() {
    run_on_threads(plan_.threads, [this] { work(); });
    const MutexLock lock(mutex_);
    if (error_) {
      return *std::move(error_);
    }
    STASIS_TRY(blocks_.finish());
    contents_.payload_bytes =
        plan_.layout == Layout::kMappable ? mappable_size(plan_.regions) : file_end_;
    STASIS_TRY(file_.set_size(contents_.payload_bytes));
    return std::move(contents_);
  }

 private:
  void work() {
    Scan scan;
    while (std::optional<PayloadUnit> unit = take_unit()) {
      if (auto done = process(*unit, scan); !done) {
        fail(std::move(done).error());
        return;
      }
    }
  }

  std::optional<PayloadUnit> take_unit() {
    const MutexLock lock(mutex_);
    return error_ ? std::nullopt : units_.next();
  }

  void fail(Error error) {
    const MutexLock lock(mutex_);
    if (!error_) {
      error_ = std::move(error);
    }
    placed_.notify_all();
  }

  Result<void> process(const PayloadUnit& unit, Scan& scan) {
    if (supervision_.cancelled()) {
      return cancelled_error();
    }
    STASIS_TRY(find_runs(unit, scan));
    scan.chunks.clear();
    scan.compressed_bytes = 0;
    for (Run& run : scan.runs) {
      if (!run.zero) {
        digest(run, scan);
      }
    }
    if (!place(unit, scan)) {
      return {};  // Another thread has failed.
    }
    STASIS_TRY(write(scan));
    report_progress(unit.bytes);
    return {};
  }

  Result<void> find_runs(const PayloadUnit& unit, Scan& scan) {
    scan.runs.clear();
    if (scan.buffers.size() < unit.pieces.size()) {
      scan.buffers.resize(unit.pieces.size());
    }
    for (std::size_t i = 0; i < unit.pieces.size(); ++i) {
      STASIS_ASSIGN(const auto bytes, source_.view(unit.pieces[i], scan.buffers[i]));
      find_runs_in(unit.pieces[i], bytes, scan.runs);
    }
    return {};
  }

  void find_runs_in(GpaRange piece, std::span<const std::byte> bytes,
                    std::vector<Run>& runs) const {
    const std::size_t first = runs.size();
    for (std::uint64_t at = 0; at < bytes.size();) {
      const ZeroRun found = first_run(bytes.subspan(at), plan_.page_size_bytes);
      const Run run{{piece.begin + at, found.bytes}, found.zero, bytes.subspan(at, found.bytes)};
      at += found.bytes;
      const std::size_t count = runs.size() - first;
      const bool joins = !found.zero && count >= 2 && runs.back().zero &&
                         runs.back().range.size < kHoleBytesMin &&
                         plan_.layout == Layout::kMappable;
      if (!joins) {
        runs.push_back(run);
        continue;
      }
      // Stored, short zeros, stored: one.
      runs.pop_back();
      Run& whole = runs.back();
      whole.range.size = run.range.end().value - whole.range.begin.value;
      whole.bytes = {whole.bytes.data(), whole.range.size};
    }
  }

  // Checksums, and with LZ4 the stored bytes, of a run's chunks.
  void digest(Run& run, Scan& scan) const {
    run.first_chunk = scan.chunks.size();
    run.chunk_count = chunk_count_of(run.range, plan_.chunk_bytes);
    run.stored_bytes = 0;
    for (std::size_t i = 0; i < run.chunk_count; ++i) {
      const GpaRange range = chunk_range_of(run.range, i, plan_.chunk_bytes);
      const auto raw = run.bytes.subspan(range.begin.value - run.range.begin.value, range.size);
      Chunk chunk;
      chunk.checksum = chunk_checksum(raw, range.begin);
      chunk.stored_bytes = static_cast<std::uint32_t>(raw.size());
      if (plan_.codec == Codec::kLz4) {
        chunk.stored_bytes = compress(raw, scan);
      }
      run.stored_bytes += chunk.stored_bytes;
      scan.chunks.push_back(chunk);
    }
  }

  // Appends the chunk as it will be stored; returns its length.
  static std::uint32_t compress(std::span<const std::byte> raw, Scan& scan) {
    const std::size_t begin = scan.compressed_bytes;
    if (scan.compressed.size() < begin + raw.size()) {
      scan.compressed.resize(begin + raw.size());
    }
    const auto out = std::span(scan.compressed).subspan(begin, raw.size());
    std::size_t used = compress_chunk(raw, out);
    if (used == 0) {
      std::copy(raw.begin(), raw.end(), out.begin());
      used = raw.size();
    }
    scan.compressed_bytes += used;
    return static_cast<std::uint32_t>(used);
  }

  // Waits for the unit's turn and gives it its place: in the file, and behind the extents and
  // chunks of the units before it. False if the work was given up meanwhile.
  bool place(const PayloadUnit& unit, Scan& scan) {
    const MutexLock lock(mutex_);
    while (turn_ != unit.number && !error_) {
      placed_.wait(mutex_);
    }
    if (error_) {
      return false;
    }
    for (Run& run : scan.runs) {
      place_run(run, scan);
    }
    ++turn_;
    placed_.notify_all();
    return true;
  }

  void place_run(Run& run, const Scan& scan) STASIS_REQUIRES(mutex_) {
    if (run.zero) {
      contents_.zero_bytes += run.range.size;
      append({run.range, ExtentKind::kZero, 0, 0});
      return;
    }
    if (plan_.layout == Layout::kMappable) {
      run.file_offset = mappable_offset(plan_.regions, run.range.begin);
    } else {
      run.file_offset = file_end_;  // Raw runs are whole pages: the end stays aligned.
      file_end_ += run.stored_bytes;
    }
    contents_.raw_bytes += run.range.size;
    contents_.stored_bytes += run.stored_bytes;
    append({run.range, plan_.codec == Codec::kLz4 ? ExtentKind::kLz4 : ExtentKind::kRaw,
            run.file_offset, static_cast<std::uint32_t>(contents_.chunks.size())});
    std::uint64_t offset = run.file_offset;
    for (std::size_t i = 0; i < run.chunk_count; ++i) {
      Chunk chunk = scan.chunks[run.first_chunk + i];
      chunk.file_offset = offset;
      offset += chunk.stored_bytes;
      contents_.chunks.push_back(chunk);
    }
  }

  // As a part of the last extent where it continues it.
  void append(const Extent& extent) STASIS_REQUIRES(mutex_) {
    Extent* const last = contents_.extents.empty() ? nullptr : &contents_.extents.back();
    bool joins = last != nullptr && last->kind == extent.kind &&
                 last->range.end() == extent.range.begin && !begins_region(extent.range.begin);
    if (joins && is_stored(extent.kind)) {
      joins = is_aligned(extent.range.begin.value, plan_.chunk_bytes) &&
              stored_end_ == extent.file_offset;
    }
    if (joins) {
      last->range.size += extent.range.size;
    } else {
      contents_.extents.push_back(extent);
    }
    if (is_stored(extent.kind)) {
      stored_end_ =
          plan_.layout == Layout::kMappable ? extent.file_offset + extent.range.size : file_end_;
    }
  }

  [[nodiscard]] bool begins_region(Gpa gpa) const {
    return std::any_of(plan_.regions.begin(), plan_.regions.end(),
                       [&](const ManifestRegion& region) { return region.range.begin == gpa; });
  }

  Result<void> write(const Scan& scan) {
    return plan_.layout == Layout::kMappable ? write_in_place(scan) : append_to_blocks(scan);
  }

  // A packed payload has no holes.
  Result<void> append_to_blocks(const Scan& scan) {
    std::size_t compressed = 0;
    for (const Run& run : scan.runs) {
      if (run.zero) {
        continue;
      }
      if (plan_.codec == Codec::kNone) {
        STASIS_TRY(blocks_.write(run.file_offset, run.bytes));
        continue;
      }
      STASIS_TRY(blocks_.write(
          run.file_offset,
          std::span<const std::byte>(scan.compressed).subspan(compressed, run.stored_bytes)));
      compressed += run.stored_bytes;
    }
    return {};
  }

  // With as few and as large writes as possible.
  Result<void> write_in_place(const Scan& scan) {
    std::vector<std::span<const std::byte>> pieces;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    for (const Run& run : scan.runs) {
      if (run.zero) {
        continue;
      }
      if (!pieces.empty() && run.file_offset != end) {
        STASIS_TRY(write_pieces(begin, end, pieces));
        pieces.clear();
      }
      if (pieces.empty()) {
        begin = run.file_offset;
      }
      pieces.push_back(run.bytes);
      end = run.file_offset + run.stored_bytes;
    }
    return pieces.empty() ? Result<void>() : write_pieces(begin, end, pieces);
  }

  Result<void> write_pieces(std::uint64_t begin, std::uint64_t end,
                            std::span<const std::span<const std::byte>> pieces) {
    STASIS_TRY(file_.write_at(begin, pieces));
    if (plan_.write_back_early) {
      file_.start_writeback(begin, end - begin);
    }
    return {};
  }

  void report_progress(std::uint64_t bytes) {
    const MutexLock lock(progress_mutex_);
    done_bytes_ += bytes;
    if (supervision_.progress) {
      supervision_.progress(done_bytes_, total_bytes_);
    }
  }

  // Constant after construction.
  const PayloadPlan& plan_;
  const MemorySource& source_;
  WritableFile& file_;  // Thread-safe for disjoint places.
  const Supervision& supervision_;

  BlockWriter blocks_;  // Thread-safe; for kPacked.

  Mutex mutex_;
  ConditionVariable placed_;
  PayloadUnits units_ STASIS_GUARDED_BY(mutex_);
  std::uint64_t turn_ STASIS_GUARDED_BY(mutex_) = 0;
  std::optional<Error> error_ STASIS_GUARDED_BY(mutex_);
  PayloadContents contents_ STASIS_GUARDED_BY(mutex_);
  std::uint64_t file_end_ STASIS_GUARDED_BY(mutex_) = 0;    // kPacked: where the next run goes.
  std::uint64_t stored_end_ STASIS_GUARDED_BY(mutex_) = 0;  // Of the last stored run.

  Mutex progress_mutex_;
  std::uint64_t done_bytes_ STASIS_GUARDED_BY(progress_mutex_) = 0;
  std::uint64_t total_bytes_;  // Constant after construction.
};

}  // namespace

Result<PayloadContents> write_payload(const PayloadPlan& plan, const MemorySource& source,
                                      WritableFile& file, const Supervision& supervision) {
  return PayloadWriter(plan, source, file, supervision).run();
}

}  // namespace stasis::snapshot::internal
