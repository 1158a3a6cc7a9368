#include "guests/linux/files/stasis_device.h"

#include <errno.h>
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace stasis::linux_guest {

SysResult StasisDevice::read(std::span<std::byte> out) {
  finish_response();
  if (!state_.is_active) {
    if (state_.requests.empty()) {
      state_.wants_request = true;
      return -EAGAIN;
    }
    state_.request = std::move(state_.requests.front());
    state_.requests.pop_front();
    // A line of its own, so that reading by lines needs no look at what follows.
    if (state_.request.empty() || state_.request.back() != std::byte{'\n'}) {
      state_.request.push_back(std::byte{'\n'});
    }
    state_.position = 0;
    state_.is_active = true;
  }
  const std::size_t count =
      std::min<std::size_t>(out.size(), state_.request.size() - state_.position);
  if (count != 0) {
    std::memcpy(out.data(), state_.request.data() + state_.position, count);
    state_.position += count;
  }
  return static_cast<SysResult>(count);
}

SysResult StasisDevice::write(std::span<const std::byte> bytes) {
  if (!state_.is_active) {
    return -EPROTO;
  }
  if (bytes.size() > response_bytes_max_ - state_.response.size()) {
    state_.response.clear();
    state_.has_written = false;
    return -EFBIG;
  }
  state_.response.insert(state_.response.end(), bytes.begin(), bytes.end());
  state_.has_written = true;
  return static_cast<SysResult>(bytes.size());
}

void StasisDevice::finish_response() {
  if (!state_.is_active || !state_.has_written) {
    return;
  }
  state_.responses.push_back(std::exchange(state_.response, {}));
  state_.has_written = false;
  state_.is_active = false;
  state_.request.clear();
  state_.position = 0;
  ++state_.activity;
}

void StasisDevice::answer_empty() {
  if (state_.is_active) {
    state_.has_written = true;
    finish_response();
  }
}

bool StasisDevice::is_readable() const {
  if (state_.is_active && !state_.has_written) {
    return state_.position < state_.request.size();
  }
  return !state_.requests.empty();
}

void StasisDevice::want_request() {
  finish_response();
  if (!is_readable() && !state_.is_active) {
    state_.wants_request = true;
  }
}

Result<void> StasisDevice::post(std::span<const std::byte> request) {
  if (request.size() > kRequestBytesMax) {
    return Error{Errc::kInvalidArgument, 0,
                 "a request of " + std::to_string(request.size()) + " bytes is too large (limit " +
                     std::to_string(kRequestBytesMax) + ")"};
  }
  if (state_.requests.size() >= kRequestsMax) {
    return Error{Errc::kAlreadyExists, 0,
                 std::to_string(kRequestsMax) + " requests wait for the program already"};
  }
  state_.requests.emplace_back(request.begin(), request.end());
  state_.wants_request = false;
  ++state_.activity;
  return {};
}

std::optional<std::vector<std::byte>> StasisDevice::take_response() {
  if (state_.responses.empty()) {
    return std::nullopt;
  }
  std::vector<std::byte> response = std::move(state_.responses.front());
  state_.responses.pop_front();
  return response;
}

StasisFile::~StasisFile() {
  if (device_ == nullptr || !can_write()) {
    return;
  }
  if (wrote_) {
    device_->finish_response();
  } else if (!can_read() && opened_active_ && !device_->has_written()) {
    device_->answer_empty();
  }
}

SysResult StasisFile::read(std::uint64_t /*offset*/, std::span<std::byte> out) {
  wrote_ = false;
  return device_->read(out);
}

SysResult StasisFile::write(std::uint64_t /*offset*/, std::span<const std::byte> bytes) {
  const SysResult result = device_->write(bytes);
  wrote_ = wrote_ || result >= 0;
  return result;
}

FileStat StasisFile::stat() const {
  FileStat stat;
  stat.mode = S_IFCHR | 0666U;
  stat.inode = 0x57a515;
  stat.special_device = 0x0a57;
  return stat;
}

std::uint32_t StasisFile::poll() const {
  return (device_->is_readable() ? POLLIN | POLLRDNORM : 0U) | POLLOUT | POLLWRNORM;
}

}  // namespace stasis::linux_guest
