// /dev/stasis: requests to the program, responses from it. docs/linux-syscalls.md has the protocol.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "core/result.h"
#include "guests/linux/files/file.h"

namespace stasis::linux_guest {

// Everything of the device that a snapshot has. Value.
struct StasisDeviceState {
  std::deque<std::vector<std::byte>> requests;  // Not yet begun.
  bool is_active = false;                       // A request was begun and is not answered.
  std::vector<std::byte> request;               // The active one, its line ended.
  std::uint64_t position = 0;                   // How far it has been read.
  bool has_written = false;
  std::vector<std::byte> response;               // So far.
  std::deque<std::vector<std::byte>> responses;  // Complete, not yet taken.
  bool wants_request = false;
  std::uint64_t activity = 0;
  friend bool operator==(const StasisDeviceState&, const StasisDeviceState&) = default;
};

constexpr std::size_t kRequestsMax = 16;
constexpr std::uint64_t kRequestBytesMax = std::uint64_t{64} << 20U;

// Resource. All open descriptions share it.
class StasisDevice {
 public:
  explicit StasisDevice(std::uint64_t response_bytes_max)
      : response_bytes_max_(response_bytes_max) {}
  StasisDevice(const StasisDevice&) = delete;
  StasisDevice& operator=(const StasisDevice&) = delete;
  StasisDevice(StasisDevice&&) = delete;
  StasisDevice& operator=(StasisDevice&&) = delete;
  ~StasisDevice() = default;

  // The program's side. -EAGAIN: no request yet, and now one is wanted. 0: the request has been
  // read and is not answered.
  [[nodiscard]] SysResult read(std::span<std::byte> out);
  // -EPROTO: there is no request to answer. -EFBIG: the response is too large and is forgotten.
  [[nodiscard]] SysResult write(std::span<const std::byte> bytes);
  // The program has written what it wants to: it reads or waits again, or has closed.
  void finish_response();
  void answer_empty();  // A description opened to write was closed without a write.
  [[nodiscard]] bool is_readable() const;
  void want_request();  // Before a wait for readability.
  [[nodiscard]] bool is_active() const { return state_.is_active; }
  [[nodiscard]] bool has_written() const { return state_.has_written; }

  // The owner's side.
  Result<void> post(std::span<const std::byte> request);
  [[nodiscard]] std::optional<std::vector<std::byte>> take_response();
  [[nodiscard]] const StasisDeviceState& state() const { return state_; }
  void restore(StasisDeviceState state) { state_ = std::move(state); }

 private:
  std::uint64_t response_bytes_max_;
  StasisDeviceState state_;
};

class StasisFile final : public File {
 public:
  StasisFile(int flags, StasisDevice& device)
      : File(FileKind::kStasis, flags, "/dev/stasis"),
        device_(&device),
        opened_active_(device.is_active()) {}
  ~StasisFile() override;
  StasisFile(const StasisFile&) = delete;
  StasisFile& operator=(const StasisFile&) = delete;
  StasisFile(StasisFile&&) = delete;
  StasisFile& operator=(StasisFile&&) = delete;
  SysResult read(std::uint64_t offset, std::span<std::byte> out) override;
  SysResult write(std::uint64_t offset, std::span<const std::byte> bytes) override;
  [[nodiscard]] FileStat stat() const override;
  [[nodiscard]] std::uint32_t poll() const override;
  [[nodiscard]] std::uint64_t activity() const override { return device_->state().activity; }
  [[nodiscard]] StasisDevice& device() const { return *device_; }
  [[nodiscard]] bool opened_active() const { return opened_active_; }
  [[nodiscard]] bool wrote() const { return wrote_; }
  void restore(bool opened_active, bool wrote) {
    opened_active_ = opened_active;
    wrote_ = wrote;
  }
  // While the kernel goes away or is loaded anew, closing means nothing.
  void detach() { device_ = nullptr; }

 private:
  StasisDevice* device_;
  bool opened_active_;  // A request was being answered when this was opened.
  bool wrote_ = false;
};

}  // namespace stasis::linux_guest
