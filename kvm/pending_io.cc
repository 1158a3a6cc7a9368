#include "kvm/pending_io.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/check.h"

namespace stasis::kvm {

void PendingIo::begin_port(std::uint16_t port, IoDirection direction, std::uint8_t width_bytes,
                           std::span<std::byte> data) {
  space_ = IoSpace::kPort;
  direction_ = direction;
  address_ = port;
  port_width_bytes_ = width_bytes;
  data_ = data;
  position_ = 0;
  awaiting_ = false;
}

void PendingIo::begin_mmio(std::uint64_t address, IoDirection direction,
                           std::span<std::byte> data) {
  space_ = IoSpace::kMmio;
  direction_ = direction;
  address_ = address;
  data_ = data;
  position_ = 0;
  awaiting_ = false;
}

VcpuExit PendingIo::next() {
  STASIS_CHECK(has_next());
  IoAccess access{space_, address_, port_width_bytes_};
  if (space_ == IoSpace::kMmio) {
    access.address = address_ + position_;
    access.width_bytes = static_cast<std::uint8_t>(
        std::bit_floor(std::min<std::size_t>(data_.size() - position_, 8)));
  }
  current_bytes_ = access.width_bytes;
  if (direction_ == IoDirection::kRead) {
    awaiting_ = true;
    return ExitIoRead{access};
  }
  std::uint64_t value = 0;  // Little endian, as the guest.
  std::memcpy(&value, data_.data() + position_, current_bytes_);
  position_ += current_bytes_;
  return ExitIoWrite{access, value};
}

void PendingIo::answer(std::uint64_t value) {
  STASIS_CHECK(awaiting_);
  std::memcpy(data_.data() + position_, &value, current_bytes_);
  position_ += current_bytes_;
  awaiting_ = false;
}

void PendingIo::hand_out_again() {
  if (awaiting_) {
    awaiting_ = false;
  } else {
    position_ -= current_bytes_;
  }
}

void PendingIo::abandon() {
  data_ = {};
  position_ = 0;
  awaiting_ = false;
}

}  // namespace stasis::kvm
