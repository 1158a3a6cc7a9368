#include "guests/arm64_linux/request_peer.h"

#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

namespace stasis::guests::arm64 {
namespace {

// The number behind `word` and a space, if that is what `line` is.
std::optional<std::uint64_t> number_behind(std::string_view line, std::string_view word) {
  if (line.substr(0, word.size()) != word) {
    return std::nullopt;
  }
  const std::string_view digits = line.substr(word.size());
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool is_whole = error == std::errc{} && end == digits.data() + digits.size();
  return is_whole ? std::optional(value) : std::nullopt;
}

WriteOutcome event(MachineEvent::Kind kind, std::uint64_t value, AfterWrite after) {
  WriteOutcome outcome{.after = after, .event = MachineEvent{.kind = kind, .value = value}};
  return outcome;
}

}  // namespace

WriteOutcome RequestPeer::take(std::uint8_t byte) {
  const MutexLock lock(mutex_);
  if (missing_ != 0) {
    partial_.push_back(static_cast<std::byte>(byte));
    --missing_;
    return missing_ == 0 ? finish_response() : WriteOutcome{};
  }
  if (byte == '\n') {
    return take_line();
  }
  // One that is too long is no line of ours, and stays too long until its end.
  if (line_.size() <= kLineBytesMax && byte != '\r' && byte != 0) {
    line_.push_back(static_cast<char>(byte));
  }
  return {};
}

WriteOutcome RequestPeer::take_line() {
  const std::string line = std::exchange(line_, {});
  if (line == "ready") {
    return event(MachineEvent::Kind::kReady, 0, AfterWrite::kHold);
  }
  if (const auto value = number_behind(line, "checkpoint ")) {
    return event(MachineEvent::Kind::kCheckpoint, *value, AfterWrite::kHold);
  }
  if (const auto value = number_behind(line, "exit ")) {
    return event(MachineEvent::Kind::kExit, *value, AfterWrite::kHold);
  }
  const auto size = number_behind(line, "response ");
  if (!size.has_value() || *size > kMessageBytesMax) {
    return {};
  }
  missing_ = *size;
  return missing_ == 0 ? finish_response() : WriteOutcome{};
}

WriteOutcome RequestPeer::finish_response() {
  const std::uint64_t size = partial_.size();
  responses_.push_back(std::exchange(partial_, {}));
  return event(MachineEvent::Kind::kResponse, size, AfterWrite::kContinue);
}

Result<std::vector<std::byte>> RequestPeer::take_response() {
  const MutexLock lock(mutex_);
  if (responses_.empty()) {
    return Error{Errc::kInvalidArgument, 0, "the guest has not answered"};
  }
  std::vector<std::byte> oldest = std::move(responses_.front());
  responses_.pop_front();
  return oldest;
}

Result<std::vector<std::byte>> RequestPeer::frame(std::span<const std::byte> request) {
  if (request.size() > kMessageBytesMax) {
    return Error{Errc::kOutOfRange, 0,
                 "a request of " + std::to_string(request.size()) + " bytes: at most " +
                     std::to_string(kMessageBytesMax) + " go over the request port"};
  }
  const std::string head = std::to_string(request.size()) + "\n";
  std::vector<std::byte> bytes;
  for (const char c : head) {
    bytes.push_back(static_cast<std::byte>(c));
  }
  bytes.insert(bytes.end(), request.begin(), request.end());
  return bytes;
}

// The line, a zero byte, what is missing, what is there of a response. Whole responses belong to
// the session that asked.
std::vector<std::byte> RequestPeer::save() const {
  const MutexLock lock(mutex_);
  std::vector<std::byte> out;
  for (const char c : line_) {
    out.push_back(static_cast<std::byte>(c));
  }
  out.push_back(std::byte{0});
  for (std::uint32_t shift = 0; shift < 64; shift += 8) {
    out.push_back(static_cast<std::byte>(missing_ >> shift & 0xffU));
  }
  out.insert(out.end(), partial_.begin(), partial_.end());
  return out;
}

Result<void> RequestPeer::load(std::span<const std::byte> bytes) {
  const auto corrupt = [](std::string_view what) {
    return Error{Errc::kCorruption, 0, "state of the request port: " + std::string(what)};
  };
  std::string line;
  std::size_t at = 0;
  while (at < bytes.size() && bytes[at] != std::byte{0} && at <= kLineBytesMax) {
    line.push_back(static_cast<char>(bytes[at++]));
  }
  if (at >= bytes.size() || bytes[at] != std::byte{0} || bytes.size() - at < 9) {
    return corrupt("it ends within the line, or the line is too long");
  }
  std::uint64_t missing = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    missing |= std::to_integer<std::uint64_t>(bytes[at + 1 + i]) << (8 * i);
  }
  const std::span<const std::byte> partial = bytes.subspan(at + 9);
  if (missing > kMessageBytesMax || partial.size() > kMessageBytesMax - missing ||
      (missing == 0 && !partial.empty())) {
    return corrupt("a response has more bytes than one may have");
  }
  const MutexLock lock(mutex_);
  line_ = std::move(line);
  missing_ = missing;
  partial_.assign(partial.begin(), partial.end());
  responses_.clear();
  return {};
}

}  // namespace stasis::guests::arm64
