// A KVM guest whose vCPUs write at random places for ever, for the completeness of dirty trackers.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "core/machine.h"
#include "core/mutex.h"

namespace stasis::snapshot::testing {

// Value.
struct ScribblerConfig {
  std::uint32_t vcpus = 1;
  std::uint64_t seed = 1;
  BackingKind backing = BackingKind::kAnonymous;
  HugePages huge_pages = HugePages::kNever;
  std::uint32_t dirty_ring_entries = 0;
};

// Answers the guest's port: each access makes it write to memory as a device does, somewhere where
// the guest writes, too.
class ScribblingDevice final : public Device {
 public:
  ScribblingDevice(std::vector<GpaRange> data, std::uint64_t seed)
      : data_(std::move(data)), random_(seed) {}
  [[nodiscard]] std::string_view name() const override { return "scribbler"; }
  Result<std::uint64_t> read(std::uint64_t, std::uint8_t, std::uint32_t, DeviceHost&) override {
    return std::uint64_t{0};
  }
  Result<WriteOutcome> write(std::uint64_t offset, std::uint8_t width_bytes, std::uint64_t data,
                             std::uint32_t vcpu, DeviceHost& host) override;
  [[nodiscard]] Result<DeviceState> save_state() const override {
    return DeviceState{"scribbler", 1, {}};
  }
  Result<void> load_state(const DeviceState&) override { return {}; }

  // Waits until the guest has come so often in all; false if it does not for a minute.
  bool await(std::uint64_t accesses);
  [[nodiscard]] std::uint64_t accesses() const;

 private:
  std::vector<GpaRange> data_;
  mutable Mutex mutex_;
  ConditionVariable changed_;
  std::mt19937_64 random_ STASIS_GUARDED_BY(mutex_);
  std::uint64_t accesses_ STASIS_GUARDED_BY(mutex_) = 0;
};

// Each vCPU goes through a list of its own, again and again: stores of 1 to 16 bytes at any
// alignment and across pages and borders of regions, locked additions, string stores of more than a
// page, loads, and accesses to the device. The values never repeat.
struct Scribbler {
  std::vector<GpaRange> data;  // Where guest and device write.
  std::shared_ptr<ScribblingDevice> device;
  std::unique_ptr<Machine> machine;  // Paused before its first instruction.
};
// RAM below and above 3 GiB, with holes and with regions that adjoin.
Result<Scribbler> make_scribbler(HypervisorBackend& backend, const ScribblerConfig& config);

}  // namespace stasis::snapshot::testing
