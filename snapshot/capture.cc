#include "snapshot/capture.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <utility>

#include "core/clock.h"
#include "core/x86_state.h"
#include "snapshot/capture_facts.h"

namespace stasis::snapshot {
namespace {

struct StateComponent {
  std::uint64_t xcr0_bits;
  std::string_view feature;
};

// Intel SDM vol. 1, 13.1 (XSAVE-supported features and state-component bitmaps).
constexpr std::array<StateComponent, 5> kStateComponents{{
    {std::uint64_t{1} << 2U, "avx"},
    {std::uint64_t{3} << 3U, "mpx"},
    {std::uint64_t{7} << 5U, "avx512f"},
    {std::uint64_t{1} << 9U, "pku"},
    {std::uint64_t{3} << 17U, "amx_tile"},
}};

std::uint64_t enabled_components(const VcpuState& state) {
  const auto* x86 = std::get_if<X86VcpuState>(&state);
  if (x86 == nullptr) {
    return 0;
  }
  const auto xcr0 = std::find_if(x86->xcrs.begin(), x86->xcrs.end(),
                                 [](const X86Xcr& xcr) { return xcr.index == 0; });
  return xcr0 == x86->xcrs.end() ? 0 : xcr0->value;
}

// Facts and machine state: all of a snapshot but its memory.
Result<SnapshotWriter> begin(Machine& machine, FileSystem& file_system, const std::string& target,
                             const CaptureOptions& options) {
  if (!machine.is_paused()) {
    return Error{Errc::kInvalidArgument, 0,
                 "save '" + target + "': the machine is running; pause it first"};
  }
  STASIS_ASSIGN(MachineState state, machine.save_state());
  STASIS_ASSIGN(SnapshotWriter writer,
                SnapshotWriter::begin(file_system, target,
                                      facts_of(machine.capabilities(), state.vcpus, options),
                                      options.writer));
  writer.put_machine(std::move(state));
  return writer;
}

}  // namespace

SnapshotFacts facts_of(const Capabilities& capabilities, const std::vector<VcpuState>& vcpus,
                       const CaptureOptions& options) {
  SnapshotFacts facts;
  facts.creator = options.creator;
  facts.created_ns = host_clock().wall_ns();
  facts.architecture = capabilities.architecture;
  facts.backend = capabilities.kind;
  facts.clock_policy = capabilities.clock_policy;
  facts.cpu_features = required_cpu_features(capabilities, vcpus, options.cpu);
  facts.labels = options.labels;
  return facts;
}

std::vector<ManifestRegion> manifest_regions(const GuestMemory& memory) {
  std::vector<ManifestRegion> regions;
  for (const MemoryRegion& region : memory.regions()) {
    regions.push_back({region.range, region.backing, region.huge_pages});
  }
  return regions;
}

std::vector<std::string> required_cpu_features(const Capabilities& capabilities,
                                               const std::vector<VcpuState>& vcpus,
                                               CpuRequirement requirement) {
  const std::set<std::string> visible(capabilities.cpu_features.begin(),
                                      capabilities.cpu_features.end());
  if (requirement == CpuRequirement::kVisible) {
    return {visible.begin(), visible.end()};
  }
  std::uint64_t enabled = 0;
  for (const VcpuState& vcpu : vcpus) {
    enabled |= enabled_components(vcpu);
  }
  std::set<std::string> required;
  for (const StateComponent& component : kStateComponents) {
    const std::string feature(component.feature);
    // A name that the backend does not use could never be satisfied; Vcpu::load_state() refuses an
    // XCR0 that the host cannot hold in any case.
    if ((enabled & component.xcr0_bits) != 0 && visible.contains(feature)) {
      required.insert(feature);
    }
  }
  return {required.begin(), required.end()};
}

Result<void> DirtyAccumulator::arm() {
  STASIS_TRY(machine_.arm_dirty(tracker_));
  unsaved_.clear();
  return {};
}

Result<GpaRanges> DirtyAccumulator::collect() {
  STASIS_ASSIGN(const GpaRanges fresh, machine_.collect_dirty(tracker_));
  unsaved_ = unite(unsaved_, fresh);
  return unsaved_;
}

void DirtyAccumulator::saved() {
  unsaved_.clear();
}

Result<void> DirtyAccumulator::put_back(const std::function<Result<void>()>& write) {
  if (!machine_.is_paused()) {
    return Error{Errc::kInvalidArgument, 0,
                 "put dirty pages back: the machine is running; pause it first"};
  }
  STASIS_TRY(tracker_.overlook(unsaved_, write));
  unsaved_.clear();
  return {};
}

Result<void> DirtyAccumulator::disarm() {
  STASIS_TRY(machine_.disarm_dirty(tracker_));
  unsaved_.clear();
  return {};
}

Result<WriteReport> capture_full(Machine& machine, FileSystem& file_system,
                                 const std::string& target, const CaptureOptions& options) {
  if (options.writer.parent != nullptr) {
    return Error{Errc::kInvalidArgument, 0, "save '" + target + "': a full snapshot has no parent"};
  }
  STASIS_ASSIGN(SnapshotWriter writer, begin(machine, file_system, target, options));
  STASIS_TRY(writer.put_memory(machine.memory()));
  return std::move(writer).commit();
}

Result<WriteReport> capture_diff(Machine& machine, DirtyAccumulator& dirty, FileSystem& file_system,
                                 const std::string& target, const CaptureOptions& options) {
  if (options.writer.parent == nullptr) {
    return Error{Errc::kInvalidArgument, 0,
                 "save '" + target + "': a differential snapshot needs the parent it differs from"};
  }
  // The state first: saving it may complete a vCPU's last instruction, which may write memory.
  STASIS_ASSIGN(SnapshotWriter writer, begin(machine, file_system, target, options));
  STASIS_ASSIGN(const GpaRanges pages, dirty.collect());
  STASIS_TRY(writer.put_memory(machine.memory(), pages));
  STASIS_ASSIGN(const WriteReport report, std::move(writer).commit());
  dirty.saved();
  return report;
}

}  // namespace stasis::snapshot
