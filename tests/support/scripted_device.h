// A device whose answers a test decides.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/device.h"
#include "core/mutex.h"

namespace stasis {

// Thread-safe as far as the functions given to it are. Its saved state is what was written to it.
class ScriptedDevice final : public Device {
 public:
  struct Write {
    std::uint64_t data = 0;
    std::uint32_t vcpu = 0;
    friend bool operator==(const Write&, const Write&) = default;
  };
  std::string device_name = "scripted";
  std::function<Result<std::uint64_t>()> on_read = [] { return std::uint64_t{0}; };
  std::function<Result<WriteOutcome>(const Write&, DeviceHost&)> on_write =
      [](const Write&, DeviceHost&) { return WriteOutcome{}; };

  [[nodiscard]] std::vector<Write> writes() const {
    const MutexLock lock(mutex_);
    return writes_;
  }

  [[nodiscard]] std::string_view name() const override { return device_name; }
  Result<std::uint64_t> read(std::uint64_t, std::uint8_t, std::uint32_t, DeviceHost&) override {
    return on_read();
  }
  Result<WriteOutcome> write(std::uint64_t, std::uint8_t, std::uint64_t data, std::uint32_t vcpu,
                             DeviceHost& host) override {
    const Write write{data, vcpu};
    {
      const MutexLock lock(mutex_);
      writes_.push_back(write);
    }
    return on_write(write, host);
  }
  [[nodiscard]] Result<DeviceState> save_state() const override {
    DeviceState state{device_name, 1, {}};
    for (const Write& write : writes()) {
      state.bytes.push_back(static_cast<std::byte>(write.data));
    }
    return state;
  }
  Result<void> load_state(const DeviceState& state) override {
    const MutexLock lock(mutex_);
    writes_.clear();
    for (const std::byte byte : state.bytes) {
      writes_.push_back({std::to_integer<std::uint64_t>(byte), 0});
    }
    return {};
  }

 private:
  mutable Mutex mutex_;
  std::vector<Write> writes_ STASIS_GUARDED_BY(mutex_);
};

}  // namespace stasis
