#include "snapshot/restore/restorer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "core/text.h"
#include "snapshot/restore/filler.h"
#include "snapshot/restore/pager.h"

namespace stasis::snapshot {
namespace {

int advice_of(ReadAhead read_ahead) {
  switch (read_ahead) {
    case ReadAhead::kNormal:
      return MADV_NORMAL;
    case ReadAhead::kRandom:
      return MADV_RANDOM;
    case ReadAhead::kSequential:
      return MADV_SEQUENTIAL;
    case ReadAhead::kWillNeed:
      return MADV_WILLNEED;
  }
  return MADV_NORMAL;
}

// Applies the steps that change what is mapped where; leaves the filling ones.
class Mapper {
 public:
  Mapper(const SnapshotChain& chain, GuestMemory& memory) : chain_(chain), memory_(memory) {}

  Result<void> operator()(const MapPrivateFile& step) {
    const FileSource file{chain_.at(step.depth).payload().fd(), step.file_offset};
    STASIS_TRY(memory_.overlay_file(step.range, file));
    if (step.read_ahead == ReadAhead::kNormal) {
      return {};
    }
    STASIS_ASSIGN(const std::span<std::byte> bytes, memory_.writable_view(step.range));
    if (::madvise(bytes.data(), bytes.size(), advice_of(step.read_ahead)) != 0) {
      return errno_error(errno, "advise the host of " + std::string(name_of(step.read_ahead)) +
                                    " access to guest memory " + describe(step.range));
    }
    return {};
  }
  Result<void> operator()(const Zero& step) {
    if (step.by == ZeroBy::kMapping) {
      return memory_.replace_with_zero(step.range);
    }
    STASIS_ASSIGN(const std::span<std::byte> bytes, memory_.writable_view(step.range));
    std::memset(bytes.data(), 0, bytes.size());
    return {};
  }
  Result<void> operator()(const ServeMissing&) {
    serves_missing_ = true;
    return {};
  }
  Result<void> operator()(const ReadInto&) { return {}; }
  Result<void> operator()(const DecompressInto&) { return {}; }
  [[nodiscard]] bool serves_missing() const { return serves_missing_; }

 private:
  const SnapshotChain& chain_;
  GuestMemory& memory_;
  bool serves_missing_ = false;
};

// Which snapshots' chunk tables the plan needs: a lazy plan often none, and reading one costs time
// in proportion to the guest.
std::vector<bool> needed_tables(const RestorePlan& plan, std::size_t depth) {
  std::vector<bool> needed(depth, false);
  for (const RestoreStep& step : plan.steps) {
    if (const auto* decompress = std::get_if<DecompressInto>(&step)) {
      needed.at(decompress->source.depth) = true;
    } else if (const auto* read = std::get_if<ReadInto>(&step)) {
      needed.at(read->source.depth) = needed.at(read->source.depth) || plan.verify == Verify::kOn;
    }
  }
  return needed;
}

Result<void> fill(const SnapshotChain& chain, const RestorePlan& plan, GuestMemory& memory,
                  const Supervision& supervision) {
  const std::vector<bool> needed = needed_tables(plan, chain.depth());
  std::vector<ChunkTable> tables(chain.depth());
  std::vector<internal::PayloadSource> sources;
  for (std::size_t depth = 0; depth < chain.depth(); ++depth) {
    const SnapshotReader& reader = chain.at(depth);
    if (needed[depth]) {
      STASIS_ASSIGN(tables[depth], reader.read_index());
    }
    sources.push_back({&reader.payload(), reader.manifest().chunk_bytes, tables[depth].chunks});
  }
  return internal::fill_memory(plan, sources, memory, supervision);
}

// Where the guest does not fault through this process's page table, it would find zeros.
Result<void> check_missing_pages(const RestorePlan& plan, const Capabilities& capabilities) {
  const bool serves = std::any_of(plan.steps.begin(), plan.steps.end(), [](const auto& step) {
    return std::holds_alternative<ServeMissing>(step);
  });
  // What else may be lacking the host says when it is asked to serve them.
  if (!serves || !faults_elsewhere(capabilities)) {
    return {};
  }
  if (const Availability here = probe_missing_pages(capabilities); !here.available) {
    return Error{Errc::kNotSupported, 0,
                 "policy '" + plan.policy + "': " + here.reason + "; " + here.cure};
  }
  return {};
}

}  // namespace

PlanInput plan_input(const SnapshotChain& chain) {
  PlanInput input;
  input.page_size_bytes = chain.manifest().page_size_bytes;
  input.host_page_size_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  input.regions = chain.manifest().regions;
  for (std::size_t depth = 0; depth < chain.depth(); ++depth) {
    const SnapshotReader& reader = chain.at(depth);
    SourceLayer layer{reader.manifest().layout, reader.manifest().payload_bytes,
                      reader.payload().fd() >= 0};
    for (const Extent& extent : reader.manifest().extents) {
      // In a chain of one, nothing can cover what is stored.
      if (chain.depth() > 1 &&
          (extent.kind == ExtentKind::kRaw || extent.kind == ExtentKind::kLz4)) {
        layer.stored.push_back(extent.range);
      }
    }
    layer.stored = normalize(std::move(layer.stored));
    input.layers.push_back(std::move(layer));
  }
  for (const ResolvedExtent& resolved : resolve(chain)) {
    SourceExtent source{resolved.range, resolved.depth, {}};
    if (resolved.kind == ExtentKind::kZero) {
      source.extent.range = resolved.range;
    } else {
      source.extent = chain.at(resolved.depth).manifest().extents.at(resolved.extent_index);
    }
    input.extents.push_back(source);
  }
  return input;
}

Result<std::unique_ptr<GuestMemory>> restore_memory(const SnapshotChain& chain,
                                                    const RestorePlan& plan, const PlanInput& input,
                                                    const Supervision& supervision,
                                                    AccessRecorder* recorder) {
  STASIS_TRY(check_plan(plan, input));
  STASIS_ASSIGN(auto memory, GuestMemory::create(plan.regions, input.page_size_bytes));
  Mapper mapper(chain, *memory);
  bool has_fills = false;
  for (const RestoreStep& step : plan.steps) {
    has_fills = has_fills || std::holds_alternative<ReadInto>(step) ||
                std::holds_alternative<DecompressInto>(step);
    STASIS_TRY(std::visit(mapper, step));
  }
  if (has_fills) {
    STASIS_TRY(fill(chain, plan, *memory, supervision));
  }
  if (mapper.serves_missing() || plan.fetch) {
    STASIS_ASSIGN(std::unique_ptr<PageProvider> pager,
                  internal::Pager::start(chain, plan, input, *memory, recorder));
    memory->attach(std::move(pager));
  }
  return memory;
}

Result<std::unique_ptr<Machine>> restore(const SnapshotChain& chain, const PlanInput& input,
                                         const RestorePlan& plan, HypervisorBackend& backend,
                                         std::unique_ptr<DeviceBus> bus,
                                         const RestoreOptions& options,
                                         std::unique_ptr<MachineShell> shell) {
  const Manifest& manifest = chain.manifest();
  const std::string context = "restore '" + chain.leaf().path() + "'";
  if (auto fit = check_requirements(manifest, backend.capabilities(), *bus, options.cpu); !fit) {
    return std::move(fit).error().with_context(context);
  }
  if (auto possible = check_missing_pages(plan, backend.capabilities()); !possible) {
    return std::move(possible).error().with_context(context);
  }
  auto memory = restore_memory(chain, plan, input, options.supervision, options.recorder);
  if (!memory) {
    return std::move(memory).error().with_context(context);
  }
  if (options.milestones != nullptr) {
    options.milestones->record(Milestone::kPrefetched);
  }
  MachineConfig config;
  config.vcpus = static_cast<std::uint32_t>(manifest.machine.vcpus.size());
  config.start = options.start;
  config.host_cpus = options.host_cpus;
  config.initial_state = manifest.machine;
  config.interrupt_controller = kind_of(saved_parts(manifest.machine.devices));
  config.milestones = options.milestones;
  if (options.before_start) {
    if (auto result = options.before_start(**memory, *config.initial_state); !result) {
      return std::move(result).error().with_context(context);
    }
  }
  if (options.recorder != nullptr) {
    options.recorder->begin_phase(TracePhase::kStart);
  }
  auto machine = Machine::create(backend, *std::move(memory), std::move(bus), std::move(config),
                                 std::move(shell));
  if (!machine) {
    return std::move(machine).error().with_context(context);
  }
  return machine;
}

}  // namespace stasis::snapshot
