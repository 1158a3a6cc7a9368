#include "snapshot/manifest.h"

#include <random>

namespace stasis::snapshot {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";

void append_hex(std::string& text, std::uint64_t value) {
  for (int shift = 60; shift >= 0; shift -= 4) {
    text += kDigits[(value >> static_cast<unsigned>(shift)) & 15U];
  }
}

}  // namespace

std::string to_string(const SnapshotId& id) {
  std::string text;
  for (const std::uint8_t byte : id.bytes) {
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  return text;
}

std::optional<SnapshotId> parse_snapshot_id(std::string_view text) {
  SnapshotId id;
  if (text.size() != 2 * id.bytes.size()) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::size_t digit = kDigits.find(text[i]);
    if (digit == std::string_view::npos) {
      return std::nullopt;
    }
    std::uint8_t& byte = id.bytes[i / 2];
    byte = static_cast<std::uint8_t>((std::size_t{byte} << 4U) | digit);
  }
  return id;
}

SnapshotId random_snapshot_id() {
  std::random_device device;  // getrandom() or its like: not seeded, not repeatable.
  SnapshotId id;
  for (std::size_t i = 0; i < id.bytes.size(); i += 4) {
    const std::uint32_t word = device();
    for (std::size_t j = 0; j < 4; ++j) {
      id.bytes[i + j] = static_cast<std::uint8_t>(word >> (8 * j));
    }
  }
  return id;
}

std::string to_string(const ContentRoot& root) {
  std::string text;
  append_hex(text, root.high);
  append_hex(text, root.low);
  return text;
}

std::string_view name_of(Layout layout) {
  switch (layout) {
    case Layout::kMappable:
      return "mappable";
    case Layout::kPacked:
      return "packed";
  }
  return "?";
}

std::string_view name_of(Codec codec) {
  switch (codec) {
    case Codec::kNone:
      return "none";
    case Codec::kLz4:
      return "lz4";
  }
  return "?";
}

std::string_view name_of(ExtentKind kind) {
  switch (kind) {
    case ExtentKind::kZero:
      return "zero";
    case ExtentKind::kRaw:
      return "raw";
    case ExtentKind::kLz4:
      return "lz4";
    case ExtentKind::kInherited:
      return "inherited";
  }
  return "?";
}

}  // namespace stasis::snapshot
