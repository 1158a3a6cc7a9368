// A short-lived view of a stretch of a payload file. Private to snapshot/restore/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/file_loss_guard.h"
#include "core/result.h"

namespace stasis::snapshot::internal {

// Maps a stretch of a file for reading, with its pages present. Reading through a mapping lets a
// checksum and a copy share one pass over the bytes, which read(2) cannot.
//
// Resource; empty until open() succeeds.
class PayloadWindow {
 public:
  PayloadWindow() = default;
  ~PayloadWindow() { close(); }
  PayloadWindow(const PayloadWindow&) = delete;
  PayloadWindow& operator=(const PayloadWindow&) = delete;
  PayloadWindow(PayloadWindow&&) = delete;
  PayloadWindow& operator=(PayloadWindow&&) = delete;

  // kIo if the file does not have these bytes (any more) or they cannot be read.
  Result<void> open(int fd, std::uint64_t offset, std::uint64_t size_bytes);
  void close() noexcept;

  // The bytes at `offset` of the file; empty if the window does not hold all of them.
  [[nodiscard]] std::span<const std::byte> bytes(std::uint64_t offset,
                                                 std::uint64_t size_bytes) const;
  // kIo if the file was cut short after open() returned and bytes() showed zeros instead. To be
  // asked when they have been used.
  [[nodiscard]] Result<void> check() const { return guard_.check("map the payload"); }

 private:
  const std::byte* base_ = nullptr;
  std::uint64_t file_offset_ = 0;  // Of base_.
  std::uint64_t size_bytes_ = 0;
  FileLossGuard guard_;
};

}  // namespace stasis::snapshot::internal
