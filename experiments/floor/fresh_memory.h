// Memory that nobody has touched: what a restore fills.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/result.h"

namespace stasis::experiments {

enum class Backing : std::uint8_t {
  kSmallPages,   // Anonymous, MADV_NOHUGEPAGE.
  kHugePages,    // Anonymous, 2 MiB aligned, MADV_HUGEPAGE.
  kMemfd,        // Shared memfd.
  kPrivateFile,  // MAP_PRIVATE of a file in the page cache: a write copies.
};
std::string_view name_of(Backing backing);  // "anonymous_4k", "anonymous_huge", ...

// Resource.
class FreshMemory {
 public:
  // `path` is the file of kPrivateFile, at least `bytes` long. kIo.
  static Result<FreshMemory> map(Backing backing, std::size_t bytes, const std::string& path = {});
  ~FreshMemory();
  FreshMemory(FreshMemory&& other) noexcept;
  FreshMemory& operator=(FreshMemory&&) = delete;
  FreshMemory(const FreshMemory&) = delete;
  FreshMemory& operator=(const FreshMemory&) = delete;

  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }
  // Writes to each page.
  void touch() const noexcept;
  // Reads each page: what was never written then exists as zeros.
  void touch_for_reading() const noexcept;

 private:
  FreshMemory(void* mapping, std::size_t mapped, std::span<std::byte> bytes) noexcept
      : mapping_(mapping), mapped_(mapped), bytes_(bytes) {}
  void* mapping_;
  std::size_t mapped_;
  std::span<std::byte> bytes_;
};

}  // namespace stasis::experiments
