#include "tests/snapshot/behaviour/saved_toy.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <random>

namespace stasis::snapshot::testing {

TemporaryDirectory::TemporaryDirectory() {
  path_ = (std::filesystem::temp_directory_path() / "stasis-test-XXXXXX").string();
  STASIS_CHECK(::mkdtemp(path_.data()) != nullptr);
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryDirectory::path(const std::string& name) const {
  return path_ + "/" + name;
}

CaptureOptions capture_options(const Format& format, const SnapshotChain* parent) {
  CaptureOptions options;
  options.creator = "stasis test";
  options.writer.layout = format.layout;
  options.writer.codec = format.codec;
  options.writer.chunk_bytes = format.chunk_bytes;
  options.writer.durability = Durability::kNone;
  options.writer.parent = parent;
  return options;
}

// What a record says must never change what the guest sees, so any record will do: every third page
// or so, in an order of its own.
void make_up_record(PlanInput& input) {
  std::mt19937_64 random(5);
  std::vector<PopulatePiece> pieces;
  for (const ManifestRegion& region : input.regions) {
    for (std::uint64_t at = 0; at < region.range.size; at += input.page_size_bytes) {
      if (random() % 3 == 0) {
        pieces.push_back({{region.range.begin + at, input.page_size_bytes},
                          random() % 2 == 0 ? PopulateFor::kReading : PopulateFor::kWriting});
      }
    }
  }
  input.touched = pieces;
  std::shuffle(pieces.begin(), pieces.end(), random);
  input.trace = std::move(pieces);
}

Result<Restored> restore_toy(const std::string& path, HypervisorBackend& backend,
                             std::string_view policy, const PolicyOptions& policy_options,
                             const RestoreOptions& options) {
  STASIS_ASSIGN(const auto chain, SnapshotChain::open(posix_file_system(), path));
  PlanInput input = plan_input(*chain);
  make_up_record(input);
  STASIS_ASSIGN(const RestorePlan plan, make_plan(policy, input, policy_options));
  ToyBus bus = make_toy_bus();
  Restored restored;
  restored.output = bus.output;
  STASIS_ASSIGN(restored.machine,
                restore(*chain, input, plan, backend, std::move(bus.bus), options));
  return restored;
}

Observation observe(Machine& machine, const OutputDevice& output) {
  auto state = machine.save_state();
  STASIS_CHECK(state.has_value());
  return {memory_hash(machine.memory()), *std::move(state), output.output()};
}

}  // namespace stasis::snapshot::testing
