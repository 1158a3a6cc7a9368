// The registers of a PL011, a serial port, as far as a guest can tell without a wire.
// Source: Arm DDI 0183 (PL011), 3.3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "core/result.h"

namespace stasis::guests::arm64 {

// Thread-compatible. Sends at once; what it receives waits until the guest reads it.
class Pl011 {
 public:
  [[nodiscard]] std::uint32_t read(std::uint64_t offset);
  // The byte that the guest sends by it, if it does.
  std::optional<std::uint8_t> write(std::uint64_t offset, std::uint32_t value);

  // kOutOfRange when more than kWaitingBytesMax would wait.
  Result<void> receive(std::span<const std::byte> bytes);
  static constexpr std::size_t kWaitingBytesMax = std::size_t{4} << 20U;
  [[nodiscard]] std::size_t waiting() const { return received_.size(); }

  // UARTINTR.
  [[nodiscard]] bool interrupts() const { return (raw_interrupts() & mask_) != 0; }

  [[nodiscard]] std::vector<std::byte> save() const;
  // kCorruption, naming the field.
  Result<void> load(std::span<const std::byte> bytes);

 private:
  [[nodiscard]] std::uint32_t raw_interrupts() const;

  std::uint32_t integer_baud_ = 0, fractional_baud_ = 0, line_control_ = 0, control_ = 0x300;
  std::uint32_t levels_ = 0x12, mask_ = 0, dma_ = 0;
  bool has_sent_ = false;  // The transmit interrupt is raised by each byte.
  std::deque<std::uint8_t> received_;
};

}  // namespace stasis::guests::arm64
