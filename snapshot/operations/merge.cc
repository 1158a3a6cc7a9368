// Flattens a chain: the contents of its leaf as one full snapshot.
#include <string>
#include <utility>
#include <vector>

#include "snapshot/operations.h"

namespace stasis::snapshot {
namespace {

// The memory of a chain's leaf, every chunk checked when it is read. Immutable, thread-safe.
class ChainMemory final : public MemorySource {
 public:
  explicit ChainMemory(const ChainContents& contents) : contents_(contents) {}

  [[nodiscard]] std::vector<ManifestRegion> regions() const override {
    return contents_.chain().manifest().regions;
  }
  [[nodiscard]] std::uint32_t page_size_bytes() const override {
    return contents_.chain().manifest().page_size_bytes;
  }
  Result<std::span<const std::byte>> view(GpaRange range,
                                          std::vector<std::byte>& buffer) const override {
    buffer.resize(range.size);
    ReadScratch scratch;
    STASIS_TRY(contents_.read(range, buffer, CheckChunks::kYes, scratch));
    return std::span<const std::byte>(buffer);
  }

 private:
  const ChainContents& contents_;
};

SnapshotFacts facts_of(const Manifest& manifest, const MergeOptions& options) {
  SnapshotFacts facts;
  facts.creator = options.creator;
  facts.created_ns = options.created_ns;
  facts.architecture = manifest.architecture;
  facts.backend = manifest.backend;
  facts.clock_policy = manifest.clock_policy;
  facts.cpu_features = manifest.cpu_features;
  facts.labels = manifest.labels;
  return facts;
}

}  // namespace

Result<WriteReport> merge(FileSystem& file_system, const SnapshotChain& chain,
                          const std::string& target, const MergeOptions& options) {
  STASIS_ASSIGN(const ChainContents contents, ChainContents::open(chain));
  WriterOptions writing;
  writing.layout = options.layout;
  writing.codec = options.codec;
  writing.chunk_bytes = options.chunk_bytes;
  writing.threads = options.threads;
  writing.durability = options.durability;
  writing.replace_existing = options.replace_existing;
  writing.dispose = options.dispose;
  writing.supervision = options.supervision;
  STASIS_ASSIGN(SnapshotWriter writer,
                SnapshotWriter::begin(file_system, target, facts_of(chain.manifest(), options),
                                      std::move(writing)));
  writer.put_machine(chain.manifest().machine);
  STASIS_TRY(writer.put_memory(ChainMemory(contents)));
  return std::move(writer).commit();
}

}  // namespace stasis::snapshot
