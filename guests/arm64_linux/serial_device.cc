#include "guests/arm64_linux/serial_device.h"

#include <optional>

namespace stasis::guests::arm64 {
namespace {

constexpr std::uint32_t kStateVersion = 1;
constexpr std::size_t kLengthBytes = 4;  // Of the port's part, which comes first.

}  // namespace

// Told each time: who holds the line's level knows whether it is a change.
void SerialDevice::drive(DeviceHost& host) {
  host.set_interrupt_line(line_, port_.interrupts() ? LineLevel::kHigh : LineLevel::kLow);
}

Result<void> SerialDevice::send(DeviceHost& host, std::span<const std::byte> bytes) {
  const MutexLock lock(mutex_);
  STASIS_TRY(port_.receive(bytes));
  drive(host);
  return {};
}

Result<std::uint64_t> SerialDevice::read(std::uint64_t offset, std::uint8_t /*width_bytes*/,
                                         std::uint32_t /*vcpu*/, DeviceHost& host) {
  const MutexLock lock(mutex_);
  const std::uint64_t value = port_.read(offset);
  drive(host);
  return value;
}

Result<WriteOutcome> SerialDevice::write(std::uint64_t offset, std::uint8_t /*width_bytes*/,
                                         std::uint64_t data, std::uint32_t /*vcpu*/,
                                         DeviceHost& host) {
  const MutexLock lock(mutex_);
  const std::optional<std::uint8_t> sent = port_.write(offset, static_cast<std::uint32_t>(data));
  drive(host);
  return sent.has_value() ? peer_->take(*sent) : WriteOutcome{};
}

Result<DeviceState> SerialDevice::save_state() const {
  const MutexLock lock(mutex_);
  const std::vector<std::byte> port = port_.save(), peer = peer_->save();
  DeviceState state{name_, kStateVersion, {}};
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    state.bytes.push_back(static_cast<std::byte>(port.size() >> (8 * i) & 0xffU));
  }
  state.bytes.insert(state.bytes.end(), port.begin(), port.end());
  state.bytes.insert(state.bytes.end(), peer.begin(), peer.end());
  return state;
}

Result<void> SerialDevice::load_state(const DeviceState& state) {
  if (state.version != kStateVersion) {
    return Error{Errc::kNotSupported, 0,
                 "its state has version " + std::to_string(state.version) +
                     ", this program knows version " + std::to_string(kStateVersion)};
  }
  const std::span<const std::byte> bytes(state.bytes);
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes && i < bytes.size(); ++i) {
    length |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  }
  if (!fits(kLengthBytes, length, bytes.size())) {
    return Error{
        Errc::kCorruption, 0,
        "state of a serial port: its " + std::to_string(length) + " bytes are more than there are"};
  }
  const MutexLock lock(mutex_);
  STASIS_TRY(port_.load(bytes.subspan(kLengthBytes, length)));
  return peer_->load(bytes.subspan(kLengthBytes + length));
}

}  // namespace stasis::guests::arm64
