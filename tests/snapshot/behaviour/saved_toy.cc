#include "tests/snapshot/behaviour/saved_toy.h"

#include <cstdlib>
#include <filesystem>

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

Result<Restored> restore_toy(const std::string& path, HypervisorBackend& backend,
                             std::string_view policy, const PolicyOptions& policy_options,
                             const RestoreOptions& options) {
  STASIS_ASSIGN(const auto chain, SnapshotChain::open(posix_file_system(), path));
  const PlanInput input = plan_input(*chain);
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
