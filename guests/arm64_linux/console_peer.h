// The host's end of a Linux guest's console: a place to print to. It types nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "guests/arm64_linux/serial_device.h"

namespace stasis::guests::arm64 {

class ConsolePeer final : public SerialPeer {
 public:
  // Called with each byte, on a vCPU's thread.
  using Sink = std::function<void(std::string_view)>;
  explicit ConsolePeer(Sink sink) : sink_(std::move(sink)) {}

  WriteOutcome take(std::uint8_t byte) override {
    const auto character = static_cast<char>(byte);
    sink_(std::string_view(&character, 1));
    return {};
  }
  [[nodiscard]] std::vector<std::byte> save() const override { return {}; }
  Result<void> load(std::span<const std::byte> bytes) override {
    return bytes.empty() ? Result<void>()
                         : Error{Errc::kCorruption, 0, "state of a console: it has bytes"};
  }

 private:
  const Sink sink_;
};

}  // namespace stasis::guests::arm64
