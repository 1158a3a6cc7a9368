// The host's end of the serial port over which a Linux guest says that it is ready and answers
// requests (docs/arm64-linux.md, "The request port").
//
// The guest sends lines of at most kLineBytesMax bytes: "ready", "response N" with N bytes behind
// it, "checkpoint N", "exit N". Other lines are ignored. The host sends "N", a line feed and N
// bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "core/mutex.h"
#include "guests/arm64_linux/serial_device.h"

namespace stasis::guests::arm64 {

// take(), save() and load() as SerialPeer has them; take_response() from any thread.
class RequestPeer final : public SerialPeer {
 public:
  static constexpr std::size_t kLineBytesMax = 64;
  static constexpr std::size_t kMessageBytesMax = std::size_t{1} << 20U;  // Both ways.

  WriteOutcome take(std::uint8_t byte) override;
  [[nodiscard]] std::vector<std::byte> save() const override;
  Result<void> load(std::span<const std::byte> bytes) override;

  // The oldest response not yet taken. kInvalidArgument when there is none.
  Result<std::vector<std::byte>> take_response();
  // What to send for a request. kOutOfRange, naming both sizes, when it is too large.
  static Result<std::vector<std::byte>> frame(std::span<const std::byte> request);

 private:
  WriteOutcome take_line() STASIS_REQUIRES(mutex_);
  WriteOutcome finish_response() STASIS_REQUIRES(mutex_);

  mutable Mutex mutex_;
  std::string line_ STASIS_GUARDED_BY(mutex_);           // So far; empty within a response.
  std::uint64_t missing_ STASIS_GUARDED_BY(mutex_) = 0;  // Bytes of a response to come.
  std::vector<std::byte> partial_ STASIS_GUARDED_BY(mutex_);
  std::deque<std::vector<std::byte>> responses_ STASIS_GUARDED_BY(mutex_);
};

}  // namespace stasis::guests::arm64
