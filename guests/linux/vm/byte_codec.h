// Little-endian numbers, strings and lists in the saved state of a Linux guest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "core/result.h"

namespace stasis::linux_guest::vm {

// Value.
class ByteWriter {
 public:
  void u8(std::uint8_t value) { bytes_.push_back(static_cast<std::byte>(value)); }
  void u32(std::uint32_t value) { number(value, 4); }
  void u64(std::uint64_t value) { number(value, 8); }
  void bytes(std::span<const std::byte> value) {
    u64(value.size());
    bytes_.insert(bytes_.end(), value.begin(), value.end());
  }
  void text(std::string_view value) { bytes(std::as_bytes(std::span(value.data(), value.size()))); }
  std::vector<std::byte> take() && { return std::move(bytes_); }

 private:
  void number(std::uint64_t value, unsigned count) {
    for (unsigned i = 0; i < count; ++i) {
      bytes_.push_back(static_cast<std::byte>(value >> (8 * i)));
    }
  }
  std::vector<std::byte> bytes_;
};

// Reads untrusted bytes. A read beyond the end gives zeros and makes the reader fail for good: the
// caller asks once, at the end, and bounds every count by remaining() before it allocates.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::uint8_t u8() { return static_cast<std::uint8_t>(number(1)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(number(4)); }
  std::uint64_t u64() { return number(8); }
  std::span<const std::byte> bytes() { return take(u64()); }
  std::string text() {
    std::string out;
    for (const std::byte byte : bytes()) {
      out.push_back(static_cast<char>(byte));
    }
    return out;
  }
  // A number of elements that take at least `element_bytes` each.
  std::uint64_t count(std::uint64_t element_bytes) {
    const std::uint64_t value = u64();
    if (value > remaining() / element_bytes) {
      failed_ = true;
      return 0;
    }
    return value;
  }

  [[nodiscard]] std::uint64_t remaining() const { return bytes_.size() - at_; }
  [[nodiscard]] bool is_whole() const { return !failed_ && remaining() == 0; }

 private:
  std::span<const std::byte> take(std::uint64_t size) {
    if (failed_ || !fits(at_, size, bytes_.size())) {
      failed_ = true;
      return {};
    }
    const auto taken = bytes_.subspan(at_, size);
    at_ += size;
    return taken;
  }
  std::uint64_t number(std::uint64_t size) {
    std::uint64_t value = 0;
    unsigned shift = 0;
    for (const std::byte byte : take(size)) {
      value |= std::to_integer<std::uint64_t>(byte) << shift;
      shift += 8;
    }
    return value;
  }

  std::span<const std::byte> bytes_;
  std::uint64_t at_ = 0;
  bool failed_ = false;
};

}  // namespace stasis::linux_guest::vm
