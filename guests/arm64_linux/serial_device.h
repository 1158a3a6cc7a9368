// A PL011 on the bus, and what is at the other end of its wire.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/mutex.h"
#include "guests/arm64_linux/pl011.h"

namespace stasis::guests::arm64 {

// Called by one thread at a time.
class SerialPeer {
 public:
  virtual ~SerialPeer() = default;
  // A byte from the guest.
  virtual WriteOutcome take(std::uint8_t byte) = 0;
  // Of what it knows beyond the port.
  [[nodiscard]] virtual std::vector<std::byte> save() const = 0;
  virtual Result<void> load(std::span<const std::byte> bytes) = 0;
};

// Thread-safe. Drives one line of the interrupt controller.
class SerialDevice final : public Device {
 public:
  SerialDevice(std::string name, std::uint32_t line, std::shared_ptr<SerialPeer> peer)
      : name_(std::move(name)), line_(line), peer_(std::move(peer)) {}

  // Bytes for the guest. kOutOfRange when too many wait.
  Result<void> send(DeviceHost& host, std::span<const std::byte> bytes);

  [[nodiscard]] std::string_view name() const override { return name_; }
  Result<std::uint64_t> read(std::uint64_t offset, std::uint8_t width_bytes, std::uint32_t vcpu,
                             DeviceHost& host) override;
  Result<WriteOutcome> write(std::uint64_t offset, std::uint8_t width_bytes, std::uint64_t data,
                             std::uint32_t vcpu, DeviceHost& host) override;
  [[nodiscard]] Result<DeviceState> save_state() const override;
  Result<void> load_state(const DeviceState& state) override;

 private:
  void drive(DeviceHost& host) STASIS_REQUIRES(mutex_);

  // Constant after construction; the peer is called under mutex_.
  const std::string name_;
  const std::uint32_t line_;
  const std::shared_ptr<SerialPeer> peer_;

  mutable Mutex mutex_;
  Pl011 port_ STASIS_GUARDED_BY(mutex_);
};

}  // namespace stasis::guests::arm64
