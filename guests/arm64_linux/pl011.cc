#include "guests/arm64_linux/pl011.h"

#include <algorithm>
#include <array>
#include <string>

namespace stasis::guests::arm64 {
namespace {

enum : std::uint64_t {
  kData = 0x00,
  kFlags = 0x18,
  kIntegerBaud = 0x24,
  kFractionalBaud = 0x28,
  kLineControl = 0x2c,
  kControl = 0x30,
  kLevels = 0x34,
  kMask = 0x38,
  kRawInterrupts = 0x3c,
  kInterrupts = 0x40,
  kClear = 0x44,
  kDma = 0x48,
  kIdentity = 0xfe0,
};
// UARTPeriphID and UARTPCellID: Linux' bus takes no device without the right ones.
constexpr auto kIdentityBytes =
    std::to_array<std::uint8_t>({0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1});
constexpr std::uint32_t kTransmitEmpty = 1U << 7U, kReceiveEmpty = 1U << 4U;          // UARTFR.
constexpr std::uint32_t kReceived = 1U << 4U, kSent = 1U << 5U, kTimeout = 1U << 6U;  // UARTRIS.
constexpr std::uint32_t kInterruptBits = 0x7ff;

// The state's bytes: so many numbers of 4 bytes, then what waits.
constexpr std::size_t kNumbers = 8;

Error corrupt(const std::string& what) {
  return Error{Errc::kCorruption, 0, "state of a PL011: " + what};
}

}  // namespace

// Received bytes ask for an interrupt as long as they wait, so none is forgotten.
std::uint32_t Pl011::raw_interrupts() const {
  return (received_.empty() ? 0 : kReceived | kTimeout) | (has_sent_ ? kSent : 0);
}

std::uint32_t Pl011::read(std::uint64_t offset) {
  if (offset >= kIdentity && offset < kIdentity + 4 * kIdentityBytes.size()) {
    return kIdentityBytes[(offset - kIdentity) / 4];
  }
  switch (offset) {
    case kData: {
      if (received_.empty()) {
        return 0;
      }
      const std::uint8_t byte = received_.front();
      received_.pop_front();
      return byte;
    }
    case kFlags:
      return kTransmitEmpty | (received_.empty() ? kReceiveEmpty : 0);
    case kIntegerBaud:
      return integer_baud_;
    case kFractionalBaud:
      return fractional_baud_;
    case kLineControl:
      return line_control_;
    case kControl:
      return control_;
    case kLevels:
      return levels_;
    case kMask:
      return mask_;
    case kRawInterrupts:
      return raw_interrupts();
    case kInterrupts:
      return raw_interrupts() & mask_;
    case kDma:
      return dma_;
    default:
      return 0;
  }
}

std::optional<std::uint8_t> Pl011::write(std::uint64_t offset, std::uint32_t value) {
  switch (offset) {
    case kData:
      has_sent_ = true;
      return static_cast<std::uint8_t>(value);
    case kIntegerBaud:
      integer_baud_ = value & 0xffffU;
      break;
    case kFractionalBaud:
      fractional_baud_ = value & 0x3fU;
      break;
    case kLineControl:
      line_control_ = value & 0xffU;
      break;
    case kControl:
      control_ = value & 0xffffU;
      break;
    case kLevels:
      levels_ = value & 0x3fU;
      break;
    case kMask:
      mask_ = value & kInterruptBits;
      break;
    case kClear:
      has_sent_ = has_sent_ && (value & kSent) == 0;
      break;
    case kDma:
      dma_ = value & 7U;
      break;
    default:
      break;
  }
  return std::nullopt;
}

Result<void> Pl011::receive(std::span<const std::byte> bytes) {
  if (bytes.size() > kWaitingBytesMax - received_.size()) {
    return Error{Errc::kOutOfRange, 0,
                 std::to_string(bytes.size()) +
                     " bytes for a serial port: " + std::to_string(received_.size()) +
                     " wait already, of at most " + std::to_string(kWaitingBytesMax)};
  }
  std::ranges::transform(bytes, std::back_inserter(received_),
                         [](std::byte byte) { return std::to_integer<std::uint8_t>(byte); });
  return {};
}

std::vector<std::byte> Pl011::save() const {
  std::vector<std::byte> out;
  for (const std::uint32_t number : {integer_baud_, fractional_baud_, line_control_, control_,
                                     levels_, mask_, dma_, std::uint32_t{has_sent_ ? 1U : 0U}}) {
    for (std::uint32_t shift = 0; shift < 32; shift += 8) {
      out.push_back(static_cast<std::byte>(number >> shift & 0xffU));
    }
  }
  std::ranges::transform(received_, std::back_inserter(out),
                         [](std::uint8_t byte) { return static_cast<std::byte>(byte); });
  return out;
}

Result<void> Pl011::load(std::span<const std::byte> bytes) {
  constexpr std::size_t kNumberBytes = 4 * kNumbers;
  if (bytes.size() < kNumberBytes || bytes.size() - kNumberBytes > kWaitingBytesMax) {
    return corrupt("it has " + std::to_string(bytes.size()) + " bytes");
  }
  std::array<std::uint32_t, kNumbers> numbers{};
  for (std::size_t i = 0; i < kNumberBytes; ++i) {
    numbers[i / 4] |= std::to_integer<std::uint32_t>(bytes[i]) << (8 * (i % 4));
  }
  constexpr std::array<std::uint32_t, kNumbers> kLargest = {0xffff, 0x3f,           0xff, 0xffff,
                                                            0x3f,   kInterruptBits, 7,    1};
  for (std::size_t i = 0; i < kNumbers; ++i) {
    if ((numbers[i] & ~kLargest[i]) != 0) {
      return corrupt("register " + std::to_string(i) + " has bits that it cannot have");
    }
  }
  integer_baud_ = numbers[0];
  fractional_baud_ = numbers[1];
  line_control_ = numbers[2];
  control_ = numbers[3];
  levels_ = numbers[4];
  mask_ = numbers[5];
  dma_ = numbers[6];
  has_sent_ = numbers[7] != 0;
  received_.clear();
  return receive(bytes.subspan(kNumberBytes));
}

}  // namespace stasis::guests::arm64
