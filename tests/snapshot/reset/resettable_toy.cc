#include "tests/snapshot/reset/resettable_toy.h"

#include <utility>
#include <vector>

namespace stasis::snapshot::testing {

ToyRun random_run(std::mt19937_64& random) {
  return {.instructions = random() % 1500,
          .seed = random(),
          .host_writes = static_cast<std::uint32_t>(random() % 5)};
}

Result<void> apply(const ToyRun& run, const ToyConfig& config, Machine& machine) {
  STASIS_TRY(machine.step(run.instructions));
  std::mt19937_64 random(run.seed);
  const std::vector<GpaRange> data = toy_layout(config).data;
  for (std::uint32_t i = 0; i < run.host_writes; ++i) {
    const GpaRange range = data[random() % data.size()];
    const std::vector<std::byte> bytes(1 + random() % 6000, static_cast<std::byte>(random()));
    STASIS_TRY(machine.memory().write(range.begin + random() % (range.size - bytes.size()), bytes));
  }
  return {};
}

Result<std::string> save_toy(const ToyConfig& config, const Format& format,
                             std::uint32_t differences, const TemporaryDirectory& directory) {
  const ToyMachine toy = make_toy_machine(config);
  STASIS_TRY(toy.machine->step(400));
  std::string path = directory.path("full");
  STASIS_TRY(capture_full(*toy.machine, posix_file_system(), path, capture_options(format)));
  STASIS_ASSIGN(const auto tracker, make_tracker("compare", *toy.machine));
  DirtyAccumulator dirty(*toy.machine, *tracker);
  STASIS_TRY(dirty.arm());
  for (std::uint32_t i = 0; i < differences; ++i) {
    STASIS_TRY(toy.machine->step(40));
    STASIS_ASSIGN(const auto parent, SnapshotChain::open(posix_file_system(), path));
    path = directory.path("difference-" + std::to_string(i));
    STASIS_TRY(capture_diff(*toy.machine, dirty, posix_file_system(), path,
                            capture_options(format, parent.get())));
  }
  return path;
}

Result<ResettableToy> make_resettable(const std::string& path, HypervisorBackend& backend,
                                      std::string_view policy, const std::string& tracker,
                                      const TrackerOptions& options) {
  ResettableToy toy;
  STASIS_ASSIGN(toy.restored, restore_toy(path, backend, policy));
  STASIS_ASSIGN(toy.tracker, make_tracker(tracker, toy.machine(), options));
  toy.dirty = std::make_unique<DirtyAccumulator>(toy.machine(), *toy.tracker);
  STASIS_TRY(toy.dirty->arm());
  STASIS_ASSIGN(const auto chain, SnapshotChain::open(posix_file_system(), path));
  STASIS_ASSIGN(toy.resetter, Resetter::create(toy.machine(), *toy.dirty, *chain));
  return toy;
}

}  // namespace stasis::snapshot::testing
