// A file with the header of an arm64 kernel, to be spoilt by tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace stasis::guests::arm64 {

class KernelFile {
 public:
  explicit KernelFile(std::size_t size = 8192, std::uint64_t image_size = 0x10000) : bytes(size) {
    set(16, image_size);
    set(24, 0xa);  // Little-endian, 4 KiB, anywhere in RAM.
    put(56, "ARM\x64");
  }
  void set(std::size_t offset, std::uint64_t value) {
    for (std::size_t i = 0; i < 8; ++i) {
      bytes.at(offset + i) = static_cast<std::byte>(value >> (8 * i) & 0xffU);
    }
  }
  void put(std::size_t offset, std::string_view text) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      bytes.at(offset + i) = static_cast<std::byte>(text[i]);
    }
  }

  std::vector<std::byte> bytes;
};

}  // namespace stasis::guests::arm64
