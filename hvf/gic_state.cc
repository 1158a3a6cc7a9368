#include "hvf/gic_state.h"

#include <algorithm>
#include <optional>
#include <string>

#include "core/text.h"

namespace stasis::hvf {
namespace {

// GICD_*, IHI 0069 12.9.
constexpr std::uint16_t kControl = 0, kGroups = 0x80, kSetEnable = 0x100, kClearEnable = 0x180,
                        kSetPending = 0x200, kClearPending = 0x280, kSetActive = 0x300,
                        kClearActive = 0x380, kPriorities = 0x400, kConfigurations = 0xc00,
                        kRoutes = 0x6000;
constexpr std::uint32_t kFirstSpi = 32;

std::uint16_t offset_of(std::uint16_t block, std::uint32_t number, std::uint32_t bytes) {
  return static_cast<std::uint16_t>(block + number * bytes);
}

void put(std::vector<std::byte>& out, std::uint64_t value, std::uint32_t bytes) {
  for (std::uint32_t i = 0; i < bytes; ++i) {
    out.push_back(static_cast<std::byte>(value >> (8 * i) & 0xffU));
  }
}

// Takes little-endian numbers off the front; nothing when there are not enough bytes.
class Input {
 public:
  explicit Input(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::optional<std::uint64_t> take(std::uint32_t bytes) {
    if (bytes_.size() < bytes) {
      return std::nullopt;
    }
    std::uint64_t value = 0;
    for (std::uint32_t i = 0; i < bytes; ++i) {
      value |= std::to_integer<std::uint64_t>(bytes_[i]) << (8 * i);
    }
    bytes_ = bytes_.subspan(bytes);
    return value;
  }
  [[nodiscard]] bool is_empty() const { return bytes_.empty(); }

 private:
  std::span<const std::byte> bytes_;
};

Error corrupt(std::string message) {
  return Error{Errc::kCorruption, 0, "state of the interrupt controller: " + std::move(message)};
}

Result<void> decode_registers(Input& in, std::uint32_t spis, GicState& state) {
  const std::optional<std::uint64_t> count = in.take(4);
  std::vector<std::uint16_t> known;
  for (const DistributorRegister& reg : distributor_registers(spis)) {
    known.push_back(reg.offset);
  }
  std::ranges::sort(known);
  if (!count.has_value() || *count > known.size()) {
    return corrupt("the number of registers is not there, or above " +
                   std::to_string(known.size()));
  }
  for (std::uint64_t i = 0; i < *count; ++i) {
    const std::optional<std::uint64_t> offset = in.take(2), value = in.take(8);
    if (!offset.has_value() || !value.has_value()) {
      return corrupt("it ends within register " + std::to_string(i));
    }
    const DistributorValue entry{static_cast<std::uint16_t>(*offset), *value};
    if (!std::ranges::binary_search(known, entry.offset)) {
      return corrupt("there is no register at " + hex(entry.offset));
    }
    if (!state.registers.empty() && state.registers.back().offset >= entry.offset) {
      return corrupt("register " + hex(entry.offset) + " does not ascend");
    }
    state.registers.push_back(entry);
  }
  return {};
}

Result<void> decode_lines(Input& in, std::uint32_t spis, GicState& state) {
  const std::optional<std::uint64_t> count = in.take(4);
  if (!count.has_value() || *count > spis) {
    return corrupt("the number of high lines is not there, or above " + std::to_string(spis));
  }
  for (std::uint64_t i = 0; i < *count; ++i) {
    const std::optional<std::uint64_t> line = in.take(4);
    if (!line.has_value() || *line >= spis) {
      return corrupt("high line " + std::to_string(i) + " is not there, or above " +
                     std::to_string(spis));
    }
    const auto number = static_cast<std::uint32_t>(*line);
    if (!state.high_lines.empty() && state.high_lines.back() >= number) {
      return corrupt("high line " + std::to_string(number) + " does not ascend");
    }
    state.high_lines.push_back(number);
  }
  return {};
}

}  // namespace

std::vector<DistributorRegister> distributor_registers(std::uint32_t spis) {
  const std::uint32_t end = kFirstSpi + spis;  // Behind the last INTID.
  std::vector<DistributorRegister> all;
  const auto add = [&](std::uint16_t block, std::uint32_t intids_each, std::uint32_t bytes,
                       std::uint16_t clear_block = 0) {
    for (std::uint32_t i = kFirstSpi / intids_each; i * intids_each < end; ++i) {
      all.push_back({offset_of(block, i, bytes),
                     clear_block == 0 ? std::uint16_t{0} : offset_of(clear_block, i, bytes)});
    }
  };
  add(kGroups, 32, 4);
  add(kPriorities, 4, 4);
  add(kConfigurations, 16, 4);
  add(kRoutes, 1, 8);
  add(kSetPending, 32, 4, kClearPending);
  add(kSetActive, 32, 4, kClearActive);
  add(kSetEnable, 32, 4, kClearEnable);
  all.push_back({kControl, 0});
  return all;
}

void remove_pending_levels(GicState& state) {
  const auto find = [&state](std::uint16_t offset) {
    return std::ranges::find(state.registers, offset, &DistributorValue::offset);
  };
  for (const std::uint32_t line : state.high_lines) {
    const std::uint32_t intid = kFirstSpi + line;
    const auto configuration = find(offset_of(kConfigurations, intid / 16, 4));
    const bool is_edge = configuration != state.registers.end() &&
                         (configuration->value >> (2 * (intid % 16) + 1) & 1U) != 0;
    const auto pending = find(offset_of(kSetPending, intid / 32, 4));
    if (!is_edge && pending != state.registers.end()) {
      pending->value &= ~(std::uint64_t{1} << (intid % 32));
    }
  }
}

std::vector<std::byte> encode_gic_state(const GicState& state) {
  std::vector<std::byte> out;
  put(out, state.registers.size(), 4);
  for (const DistributorValue& entry : state.registers) {
    put(out, entry.offset, 2);
    put(out, entry.value, 8);
  }
  put(out, state.high_lines.size(), 4);
  for (const std::uint32_t line : state.high_lines) {
    put(out, line, 4);
  }
  return out;
}

Result<GicState> decode_gic_state(std::span<const std::byte> bytes, std::uint32_t spis) {
  GicState state;
  Input in(bytes);
  STASIS_TRY(decode_registers(in, spis, state));
  STASIS_TRY(decode_lines(in, spis, state));
  if (!in.is_empty()) {
    return corrupt("there are bytes behind it");
  }
  return state;
}

}  // namespace stasis::hvf
