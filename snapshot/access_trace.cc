#include "snapshot/access_trace.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "core/text.h"
#include "snapshot/record_file.h"

namespace stasis::snapshot {
namespace {

Result<AccessTrace> decode_from(std::span<const std::byte> bytes, const std::string& path) {
  auto trace = decode_trace(bytes);
  return trace ? std::move(trace) : std::move(trace).error().with_context("'" + path + "'");
}

Result<void> check_belongs(const AccessTrace& trace, const SnapshotReader& snapshot) {
  STASIS_TRY(internal::check_record_of(trace.snapshot, trace.root, snapshot));
  for (const PageAccess& access : trace.accesses) {
    const GpaRange range{access.page, trace.unit_bytes};
    if (!internal::lies_in_one_region(range, snapshot.manifest())) {
      return Error{Errc::kMismatch, 0,
                   "page " + describe(range) + " is not in one region of the guest's memory"};
    }
  }
  return {};
}

}  // namespace

std::string_view name_of(TracePhase phase) {
  switch (phase) {
    case TracePhase::kRestore:
      return "restore";
    case TracePhase::kStart:
      return "start";
    case TracePhase::kRequest:
      return "request";
  }
  return "unknown phase";
}

std::vector<PopulatePiece> pieces_of(const AccessTrace& trace) {
  std::vector<PopulatePiece> pieces;
  pieces.reserve(trace.accesses.size());
  for (const PageAccess& access : trace.accesses) {
    pieces.push_back({{access.page, trace.unit_bytes}, access.access});
  }
  return pieces;
}

Result<TraceComparison> compare_traces(const AccessTrace& a, const AccessTrace& b) {
  if (a.unit_bytes != b.unit_bytes) {
    return Error{Errc::kMismatch, 0,
                 "the traces were recorded in pages of " + std::to_string(a.unit_bytes) + " and " +
                     std::to_string(b.unit_bytes) + " bytes"};
  }
  std::unordered_map<std::uint64_t, PopulateFor> in_a;
  for (const PageAccess& access : a.accesses) {
    in_a.emplace(access.page.value, access.access);
  }
  TraceComparison result;
  for (const PageAccess& access : b.accesses) {
    const auto found = in_a.find(access.page.value);
    if (found == in_a.end()) {
      ++result.only_in_b;
      continue;
    }
    ++result.common;
    result.written_otherwise += found->second != access.access ? 1U : 0U;
  }
  result.only_in_a = a.accesses.size() - result.common;
  const auto differs = std::mismatch(
      a.accesses.begin(), a.accesses.end(), b.accesses.begin(), b.accesses.end(),
      [](const PageAccess& left, const PageAccess& right) { return left.page == right.page; });
  result.common_prefix = static_cast<std::uint64_t>(differs.first - a.accesses.begin());
  return result;
}

Result<std::optional<AccessTrace>> read_trace(FileSystem& file_system,
                                              const SnapshotReader& snapshot) {
  const std::string path = join_path(snapshot.path(), kTraceFile);
  STASIS_ASSIGN(const auto bytes, internal::read_record(file_system, path, kTraceBytesMax));
  if (!bytes) {
    return std::optional<AccessTrace>();
  }
  STASIS_ASSIGN(AccessTrace trace, decode_from(*bytes, path));
  if (auto belongs = check_belongs(trace, snapshot); !belongs) {
    return std::move(belongs).error().with_context("'" + path + "'");
  }
  return std::optional<AccessTrace>(std::move(trace));
}

Result<AccessTrace> read_trace_file(FileSystem& file_system, const std::string& path) {
  STASIS_ASSIGN(const auto kind, file_system.status(path));
  const std::string file = kind == FileKind::kDirectory ? join_path(path, kTraceFile) : path;
  STASIS_ASSIGN(const auto bytes, internal::read_record(file_system, file, kTraceBytesMax));
  if (!bytes) {
    return Error{Errc::kNotFound, 0,
                 "there is no access trace '" + file + "'; `stasis trace record` makes one"};
  }
  return decode_from(*bytes, file);
}

Result<void> write_trace(FileSystem& file_system, const SnapshotReader& snapshot,
                         const AccessTrace& trace) {
  STASIS_TRY(check_belongs(trace, snapshot));
  return write_trace_file(file_system, snapshot.path(), kTraceFile, trace);
}

Result<void> write_trace_file(FileSystem& file_system, const std::string& directory,
                              std::string_view name, const AccessTrace& trace) {
  STASIS_ASSIGN(const std::vector<std::byte> bytes, encode_trace(trace));
  auto written = internal::write_record(file_system, directory, name, bytes);
  return written ? written : std::move(written).error().with_context("record an access trace");
}

AccessRecorder::AccessRecorder() : begin_(host_clock().now()) {}

void AccessRecorder::note(Gpa page, PopulateFor access) {
  const MonotonicNs now = host_clock().now();
  const MutexLock lock(mutex_);
  // One more says that there was more. Times never go back, whichever thread comes first.
  if (accesses_.size() <= kTraceAccessesMax) {
    const std::int64_t last = accesses_.empty() ? 0 : accesses_.back().at_ns;
    accesses_.push_back({page, std::max(last, now - begin_), access, phase_});
  }
}

void AccessRecorder::begin_phase(TracePhase phase) {
  const MutexLock lock(mutex_);
  phase_ = std::max(phase_, phase);
}

Result<std::vector<PageAccess>> AccessRecorder::accesses() const {
  const MutexLock lock(mutex_);
  if (accesses_.size() > kTraceAccessesMax) {
    return Error{Errc::kOutOfRange, 0,
                 "the guest touched more than the " + std::to_string(kTraceAccessesMax) +
                     " pages that can be recorded"};
  }
  // Two vCPUs may wait for the same page.
  std::vector<PageAccess> accesses;
  std::unordered_set<std::uint64_t> seen;
  for (const PageAccess& access : accesses_) {
    if (seen.insert(access.page.value).second) {
      accesses.push_back(access);
    }
  }
  return accesses;
}

}  // namespace stasis::snapshot
