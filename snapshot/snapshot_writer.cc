#include "snapshot/snapshot_writer.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "core/text.h"
#include "snapshot/capture_facts.h"
#include "snapshot/checksum.h"
#include "snapshot/chunk_table.h"
#include "snapshot/manifest_codec.h"
#include "snapshot/payload_mark.h"
#include "snapshot/payload_writer.h"
#include "snapshot/publication.h"
#include "snapshot/worker_threads.h"

namespace stasis::snapshot {
namespace {

Error invalid(std::string message) {
  return Error{Errc::kInvalidArgument, 0, std::move(message)};
}

Result<void> check_options(const WriterOptions& options) {
  const std::uint32_t chunk = options.chunk_bytes;
  if (chunk < 4096 || chunk > kChunkBytesMax || (chunk & (chunk - 1)) != 0) {
    return invalid("chunk size of " + std::to_string(chunk) +
                   " bytes: use a power of two from 4 KiB to 2 MiB");
  }
  if (options.codec == Codec::kLz4 && options.layout == Layout::kMappable) {
    return invalid("codec lz4 needs layout packed: compressed bytes cannot be mapped");
  }
  if (options.threads == 0 || options.threads > internal::kThreadsMax) {
    return invalid(std::to_string(options.threads) + " threads: use 1 to " +
                   std::to_string(internal::kThreadsMax));
  }
  if (options.parent != nullptr && options.parent->depth() >= kChainDepthMax) {
    return invalid("the chain of parents has " + std::to_string(options.parent->depth()) +
                   " snapshots, no more can be added: merge it first");
  }
  return {};
}

// Replacing an ancestor would destroy what the new snapshot inherits.
Result<void> check_ancestors(FileSystem& file_system, const SnapshotChain& chain,
                             const std::string& target) {
  for (std::size_t depth = 0; depth < chain.depth(); ++depth) {
    const auto path = file_system.canonical_path(chain.at(depth).path());
    if (path && *path == target) {
      return invalid("'" + target +
                     "' is an ancestor of the new snapshot and cannot be replaced by it: choose "
                     "another name");
    }
  }
  return {};
}

ParentLink link_to(FileSystem& file_system, const SnapshotReader& parent,
                   const std::string& target) {
  ParentLink link{parent.manifest().id, parent.root(), parent.path()};
  if (const auto path = file_system.canonical_path(parent.path())) {
    link.path = std::filesystem::path(*path).lexically_relative(target).string();
  }
  return link;
}

class GuestMemorySource final : public MemorySource {
 public:
  explicit GuestMemorySource(const GuestMemory& memory) : memory_(memory) {}

  [[nodiscard]] std::vector<ManifestRegion> regions() const override {
    return manifest_regions(memory_);
  }
  [[nodiscard]] std::uint32_t page_size_bytes() const override {
    return static_cast<std::uint32_t>(memory_.page_size_bytes());
  }
  Result<std::span<const std::byte>> view(GpaRange range,
                                          std::vector<std::byte>& /*buffer*/) const override {
    return memory_.view(range);
  }
  [[nodiscard]] Result<void> check_views() const override { return memory_.check_files(); }

 private:
  const GuestMemory& memory_;
};

GpaRanges ranges_of(const std::vector<ManifestRegion>& regions) {
  GpaRanges ranges;
  for (const ManifestRegion& region : regions) {
    ranges.push_back(region.range);
  }
  return normalize(std::move(ranges));
}

// Adds the inherited extents between those of the dirty pages.
std::vector<Extent> with_inherited(const std::vector<ManifestRegion>& regions,
                                   const std::vector<Extent>& stored) {
  std::vector<Extent> all;
  all.reserve((stored.size() * 2) + regions.size());
  auto next = stored.begin();
  for (const ManifestRegion& region : regions) {
    Gpa at = region.range.begin;
    for (; next != stored.end() && next->range.begin < region.range.end(); ++next) {
      if (at < next->range.begin) {
        all.push_back({{at, next->range.begin.value - at.value}, ExtentKind::kInherited, 0, 0});
      }
      all.push_back(*next);
      at = next->range.end();
    }
    if (at < region.range.end()) {
      all.push_back({{at, region.range.end().value - at.value}, ExtentKind::kInherited, 0, 0});
    }
  }
  return all;
}

Result<void> check_dirty(const GpaRanges& dirty, const std::vector<ManifestRegion>& regions,
                         std::uint64_t page_size_bytes) {
  for (const GpaRange& range : dirty) {
    if (!is_aligned(range.begin.value, page_size_bytes) ||
        !is_aligned(range.size, page_size_bytes)) {
      return invalid("dirty range " + describe(range) + " is not whole pages");
    }
  }
  const GpaRanges all = ranges_of(regions);
  if (normalize(dirty) != dirty || intersect(dirty, all) != dirty) {
    return invalid("dirty ranges are not normalized, or not all of them are guest memory");
  }
  return {};
}

Result<void> check_parent_memory(const Manifest& manifest, const Manifest& parent) {
  const bool same = std::equal(
      manifest.regions.begin(), manifest.regions.end(), parent.regions.begin(),
      parent.regions.end(),
      [](const ManifestRegion& a, const ManifestRegion& b) { return a.range == b.range; });
  if (!same || manifest.page_size_bytes != parent.page_size_bytes ||
      manifest.architecture != parent.architecture) {
    return Error{Errc::kMismatch, 0,
                 "memory regions, page size or architecture differ from those of the parent " +
                     to_string(parent.id)};
  }
  return {};
}

std::vector<std::string> sorted_set(std::vector<std::string> names) {
  std::ranges::sort(names);
  // Not std::ranges::unique(): clang 14 cannot use libstdc++'s subrange, which it returns.
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

}  // namespace

struct SnapshotWriter::State {
  FileSystem* file_system = nullptr;
  WriterOptions options;
  std::unique_ptr<internal::Publication> publication;
  Manifest manifest;
  bool has_machine = false, has_memory = false;
  std::unique_ptr<WritableFile> payload;
  std::vector<Chunk> chunks;
  WriteReport report;

  [[nodiscard]] bool sync() const { return options.durability == Durability::kSync; }

  Result<void> put_memory(const MemorySource& source, const GpaRanges* dirty);
  Result<void> write_payload_mark();
  Result<void> finish(WritableFile& file) const;
  Result<void> write_small_file(std::string_view name, std::span<const std::byte> bytes) const;
  Result<void> write_index();
  Result<void> write_manifest();
};

Result<void> SnapshotWriter::State::put_memory(const MemorySource& source, const GpaRanges* dirty) {
  if (has_memory) {
    return invalid("memory was put twice");
  }
  if ((dirty != nullptr) != (options.parent != nullptr)) {
    return invalid(dirty == nullptr ? "a differential snapshot needs the dirty ranges"
                                    : "dirty ranges need a parent");
  }
  manifest.regions = source.regions();
  manifest.page_size_bytes = source.page_size_bytes();
  if (manifest.chunk_bytes < manifest.page_size_bytes) {
    return invalid("chunks of " + std::to_string(manifest.chunk_bytes) +
                   " bytes are smaller than a page of " + std::to_string(manifest.page_size_bytes));
  }
  if (dirty != nullptr) {
    STASIS_TRY(check_parent_memory(manifest, options.parent->manifest()));
    STASIS_TRY(check_dirty(*dirty, manifest.regions, manifest.page_size_bytes));
  }
  STASIS_ASSIGN(payload, publication->create_file(kPayloadFile));
  internal::PayloadPlan plan;
  plan.layout = options.layout;
  plan.codec = options.codec;
  plan.chunk_bytes = options.chunk_bytes;
  plan.page_size_bytes = manifest.page_size_bytes;
  plan.threads = options.threads;
  plan.write_back_early = sync();
  plan.regions = manifest.regions;
  plan.ranges = dirty != nullptr ? *dirty : ranges_of(manifest.regions);
  STASIS_ASSIGN(internal::PayloadContents contents,
                internal::write_payload(plan, source, *payload, options.supervision));
  STASIS_TRY(source.check_views());
  manifest.extents = dirty != nullptr ? with_inherited(manifest.regions, contents.extents)
                                      : std::move(contents.extents);
  manifest.payload_bytes = contents.payload_bytes;
  manifest.chunk_count = static_cast<std::uint32_t>(contents.chunks.size());
  chunks = std::move(contents.chunks);
  report.memory_bytes = total_bytes(ranges_of(manifest.regions));
  report.considered_bytes = total_bytes(plan.ranges);
  report.zero_bytes = contents.zero_bytes;
  report.raw_bytes = contents.raw_bytes;
  report.stored_bytes = contents.stored_bytes;
  has_memory = true;
  return {};
}

Result<void> SnapshotWriter::State::write_payload_mark() {
  const internal::PayloadMark mark = internal::payload_mark(manifest.id, manifest.payload_bytes);
  const std::span<const std::byte> bytes(mark);
  manifest.payload_mark_bytes = kPayloadMarkBytes;
  return payload->write_at(manifest.payload_bytes, std::span(&bytes, 1));
}

Result<void> SnapshotWriter::State::finish(WritableFile& file) const {
  if (sync()) {
    STASIS_TRY(file.sync());
  }
  return file.close();
}

Result<void> SnapshotWriter::State::write_small_file(std::string_view name,
                                                     std::span<const std::byte> bytes) const {
  STASIS_ASSIGN(const auto file, publication->create_file(name));
  STASIS_TRY(file->write_at(0, std::span(&bytes, 1)));
  return finish(*file);
}

Result<void> SnapshotWriter::State::write_index() {
  const auto bytes = encode_chunk_table(manifest.id, manifest.codec, chunks);
  manifest.index_bytes = bytes.size();
  manifest.index_checksum = wide_checksum(bytes);
  report.index_bytes = bytes.size();
  return write_small_file(kIndexFile, bytes);
}

Result<void> SnapshotWriter::State::write_manifest() {
  STASIS_ASSIGN(const auto bytes, encode_manifest(manifest));
  STASIS_ASSIGN(const SnapshotHeader header, decode_header(bytes));
  report.id = manifest.id;
  report.root = header.root;
  report.manifest_bytes = bytes.size();
  return write_small_file(kManifestFile, bytes);
}

SnapshotWriter::SnapshotWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
SnapshotWriter::~SnapshotWriter() = default;
SnapshotWriter::SnapshotWriter(SnapshotWriter&&) noexcept = default;
SnapshotWriter& SnapshotWriter::operator=(SnapshotWriter&&) noexcept = default;

Result<SnapshotWriter> SnapshotWriter::begin(FileSystem& file_system, const std::string& target,
                                             SnapshotFacts facts, WriterOptions options) {
  STASIS_TRY(check_options(options));
  auto state = std::make_unique<State>();
  state->file_system = &file_system;
  STASIS_ASSIGN(state->publication,
                internal::Publication::begin(file_system, target, options.replace_existing));
  Manifest& manifest = state->manifest;
  if (options.parent != nullptr) {
    STASIS_TRY(check_ancestors(file_system, *options.parent, state->publication->target()));
    manifest.parent = link_to(file_system, options.parent->leaf(), state->publication->target());
  }
  manifest.id = random_snapshot_id();
  manifest.creator = std::move(facts.creator);
  manifest.created_ns = facts.created_ns;
  manifest.architecture = facts.architecture;
  manifest.backend = facts.backend;
  manifest.clock_policy = facts.clock_policy;
  manifest.cpu_features = sorted_set(std::move(facts.cpu_features));
  manifest.labels = std::move(facts.labels);
  manifest.chunk_bytes = options.chunk_bytes;
  manifest.layout = options.layout;
  manifest.codec = options.codec;
  state->options = std::move(options);
  return SnapshotWriter(std::move(state));
}

void SnapshotWriter::put_moment(std::int64_t created_ns, std::vector<std::string> cpu_features) {
  state_->manifest.created_ns = created_ns;
  state_->manifest.cpu_features = sorted_set(std::move(cpu_features));
}

void SnapshotWriter::put_machine(MachineState machine) {
  state_->manifest.machine = std::move(machine);
  state_->has_machine = true;
}

Result<void> SnapshotWriter::put_memory(const GuestMemory& memory) {
  return state_->put_memory(GuestMemorySource(memory), nullptr);
}

Result<void> SnapshotWriter::put_memory(const GuestMemory& memory, const GpaRanges& dirty) {
  return state_->put_memory(GuestMemorySource(memory), &dirty);
}

Result<void> SnapshotWriter::put_memory(const MemorySource& source) {
  return state_->put_memory(source, nullptr);
}

Result<void> SnapshotWriter::put_memory(const MemorySource& source, const GpaRanges& dirty) {
  return state_->put_memory(source, &dirty);
}

Result<WriteReport> SnapshotWriter::commit() && {
  const std::unique_ptr<State> state = std::move(state_);
  if (!state->has_machine || !state->has_memory) {
    return invalid("a snapshot needs a machine and memory before it is committed");
  }
  STASIS_TRY(state->write_payload_mark());
  STASIS_TRY(state->finish(*state->payload));
  STASIS_TRY(state->write_index());
  STASIS_TRY(state->write_manifest());
  if (state->options.supervision.cancelled()) {
    return cancelled_error();
  }
  STASIS_ASSIGN(std::string replaced, state->publication->publish(state->sync()));
  if (!replaced.empty() && state->options.dispose) {
    state->options.dispose(std::move(replaced));
  } else if (!replaced.empty()) {
    internal::discard(*state->file_system, replaced);
  }
  return state->report;
}

}  // namespace stasis::snapshot
