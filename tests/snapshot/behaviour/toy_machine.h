// A machine of the mock backend that runs a random but deterministic program, for tests of trackers
// and restores.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/machine.h"
#include "core/mutex.h"

namespace stasis::snapshot::testing {

// What the program looks like. Value.
struct ToyConfig {
  std::uint64_t page_size_bytes = 4096;
  std::uint32_t vcpus = 1;
  std::uint64_t seed = 1;
  std::uint64_t data_pages = 96;  // In each of the two data regions.
  std::uint32_t operations = 160;
  BackingKind backing = BackingKind::kAnonymous;
  HugePages huge_pages = HugePages::kNever;
};

// Two regions of data that adjoin at a region border, a hole, and a third region:
//   [0, code)  [code, A)  |  [A, B) adjacent  |  hole  |  [C, D)
struct ToyLayout {
  std::vector<RegionSpec> regions;
  Gpa code;
  std::vector<GpaRange> data;  // Where the program writes.
};
ToyLayout toy_layout(const ToyConfig& config);

// Records what the guest writes to one MMIO register: the guest's output. Its state is the output
// so far, so that a restored machine continues the same text.
class OutputDevice final : public Device {
 public:
  static constexpr std::uint64_t kAddress = 0xFE000000;
  [[nodiscard]] std::string_view name() const override { return "output"; }
  Result<std::uint64_t> read(std::uint64_t offset, std::uint8_t width_bytes, std::uint32_t vcpu,
                             DeviceHost& host) override;
  Result<WriteOutcome> write(std::uint64_t offset, std::uint8_t width_bytes, std::uint64_t data,
                             std::uint32_t vcpu, DeviceHost& host) override;
  [[nodiscard]] Result<DeviceState> save_state() const override;
  Result<void> load_state(const DeviceState& state) override;
  [[nodiscard]] std::vector<std::uint64_t> output() const;
  // Of a guest that runs for long: only its first words are kept, all are counted.
  void keep_at_most(std::size_t words);
  [[nodiscard]] std::uint64_t count() const;

 private:
  mutable Mutex mutex_;
  std::size_t words_max_ STASIS_GUARDED_BY(mutex_) = SIZE_MAX;
  std::uint64_t count_ STASIS_GUARDED_BY(mutex_) = 0;
  std::vector<std::uint64_t> output_ STASIS_GUARDED_BY(mutex_);
};

// A bus with an OutputDevice, which stays valid as long as the machine that gets the bus.
struct ToyBus {
  std::unique_ptr<DeviceBus> bus;
  OutputDevice* output = nullptr;
};
ToyBus make_toy_bus();

struct ToyMachine {
  std::unique_ptr<HypervisorBackend> backend;
  std::unique_ptr<Machine> machine;  // Paused before its first instruction.
  OutputDevice* output = nullptr;
};

// Every vCPU loops over its own random list of stores (all widths, misaligned, across pages and
// across the region border), atomics on words shared by all vCPUs, reads and outputs.
ToyMachine make_toy_machine(const ToyConfig& config);
std::unique_ptr<HypervisorBackend> make_toy_backend(const ToyConfig& config);

// A hash of all guest memory.
std::uint64_t memory_hash(const GuestMemory& memory);

}  // namespace stasis::snapshot::testing
