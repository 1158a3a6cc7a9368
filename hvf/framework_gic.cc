#include "hvf/framework_gic.h"

#include <os/object.h>

#include <algorithm>
#include <string>
#include <utility>

#include <Hypervisor/Hypervisor.h>

#include "core/address.h"
#include "core/text.h"
#include "hvf/framework_error.h"
#include "hvf/gic_state.h"
#include "hvf/platform.h"

namespace stasis::hvf {
namespace {

constexpr std::uint32_t kFirstSpi = 32;

hv_gic_distributor_reg_t distributor_register(std::uint16_t offset) {
  return static_cast<hv_gic_distributor_reg_t>(offset);
}

// The sizes and alignments of a host, against where our guests expect the frames.
Result<void> check_placement() {
  std::size_t distributor = 0, distributor_alignment = 0, redistributor = 0,
              redistributor_alignment = 0;
  const std::string what = "ask for the size of the interrupt controller";
  STASIS_TRY(framework_result(hv_gic_get_distributor_size(&distributor), what));
  STASIS_TRY(framework_result(hv_gic_get_distributor_base_alignment(&distributor_alignment), what));
  STASIS_TRY(framework_result(hv_gic_get_redistributor_size(&redistributor), what));
  STASIS_TRY(
      framework_result(hv_gic_get_redistributor_base_alignment(&redistributor_alignment), what));
  if (distributor > kGicDistributorBytes || redistributor != kGicRedistributorBytes ||
      !is_aligned(kGicDistributor.value, distributor_alignment) ||
      !is_aligned(kGicRedistributors.value, redistributor_alignment)) {
    return Error{Errc::kNotSupported, 0,
                 std::string(platform().name) +
                     ": this host's interrupt controller has other sizes than guests expect (" +
                     hex(distributor) + " and " + hex(redistributor) + " bytes)"};
  }
  return {};
}

Result<void> create_at_our_addresses() {
  hv_gic_config_t config = hv_gic_config_create();
  if (config == nullptr) {
    return Error{Errc::kBackend, 0,
                 std::string(platform().name) +
                     ": no configuration for an interrupt controller: macOS 15 is needed"};
  }
  const std::string what = "place the interrupt controller";
  Result<void> outcome =
      framework_result(hv_gic_config_set_distributor_base(config, kGicDistributor.value), what);
  if (outcome) {
    outcome = framework_result(
        hv_gic_config_set_redistributor_base(config, kGicRedistributors.value), what);
  }
  if (outcome) {
    outcome = framework_result(hv_gic_create(config), "create the interrupt controller");
  }
  os_release(config);
  return outcome;
}

}  // namespace

Result<std::unique_ptr<HvfGic>> HvfGic::create() {
  STASIS_TRY(check_placement());
  STASIS_TRY(create_at_our_addresses());
  std::uint32_t first = 0, count = 0;
  STASIS_TRY(framework_result(hv_gic_get_spi_interrupt_range(&first, &count),
                              "ask for the range of interrupts"));
  if (first != kFirstSpi || count > 1020 - kFirstSpi) {
    return Error{Errc::kNotSupported, 0,
                 std::string(platform().name) + ": this host's interrupts begin at " +
                     std::to_string(first) + " and are " + std::to_string(count)};
  }
  return std::unique_ptr<HvfGic>(new HvfGic(count));
}

Result<void> HvfGic::tell_framework(std::uint32_t line, LineLevel level) const {
  return framework_result(hv_gic_set_spi(kFirstSpi + line, level == LineLevel::kHigh),
                          "set interrupt line " + std::to_string(line));
}

Result<void> HvfGic::set_line(std::uint32_t line, LineLevel level) {
  const MutexLock lock(mutex_);
  if (line >= spis_) {
    return Error{Errc::kOutOfRange, 0,
                 "interrupt line " + std::to_string(line) + ": there are " + std::to_string(spis_)};
  }
  const bool is_high = level == LineLevel::kHigh;
  if (is_high_[line] == is_high) {
    return {};
  }
  STASIS_TRY(tell_framework(line, level));
  is_high_[line] = is_high;
  return {};
}

Result<DeviceState> HvfGic::save_state() const {
  const MutexLock lock(mutex_);
  GicState state;
  for (const DistributorRegister& reg : distributor_registers(spis_)) {
    std::uint64_t value = 0;
    STASIS_TRY(
        framework_result(hv_gic_get_distributor_reg(distributor_register(reg.offset), &value),
                         "read the distributor's register " + hex(reg.offset)));
    if (value != 0) {
      state.registers.push_back({reg.offset, value});
    }
  }
  std::ranges::sort(state.registers, {}, &DistributorValue::offset);
  for (std::uint32_t line = 0; line < spis_; ++line) {
    if (is_high_[line]) {
      state.high_lines.push_back(line);
    }
  }
  remove_pending_levels(state);
  return DeviceState{std::string(kGicName), kGicStateVersion, encode_gic_state(state)};
}

Result<void> HvfGic::load_state(const DeviceState& state) {
  if (state.version != kGicStateVersion) {
    return Error{Errc::kNotSupported, 0,
                 "its state has version " + std::to_string(state.version) +
                     ", this program knows version " + std::to_string(kGicStateVersion)};
  }
  STASIS_ASSIGN(const GicState wanted, decode_gic_state(state.bytes, spis_));
  const MutexLock lock(mutex_);
  const auto write = [](std::uint16_t offset, std::uint64_t value) {
    return framework_result(hv_gic_set_distributor_reg(distributor_register(offset), value),
                            "write the distributor's register " + hex(offset));
  };
  for (const DistributorRegister& reg : distributor_registers(spis_)) {
    const auto entry =
        std::ranges::lower_bound(wanted.registers, reg.offset, {}, &DistributorValue::offset);
    const bool is_there = entry != wanted.registers.end() && entry->offset == reg.offset;
    if (reg.clear_offset != 0) {
      STASIS_TRY(write(reg.clear_offset, UINT32_MAX));
    }
    STASIS_TRY(write(reg.offset, is_there ? entry->value : 0));
  }
  for (std::uint32_t line = 0; line < spis_; ++line) {
    const bool is_high = std::ranges::binary_search(wanted.high_lines, line);
    if (is_high_[line] != is_high) {
      STASIS_TRY(tell_framework(line, is_high ? LineLevel::kHigh : LineLevel::kLow));
      is_high_[line] = is_high;
    }
  }
  return {};
}

}  // namespace stasis::hvf
