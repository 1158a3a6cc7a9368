// hv_gic_*: creation with its rules, the parameters, lines, registers and the state as a whole.
#include <cstring>
#include <optional>
#include <span>

#include <Hypervisor/Hypervisor.h>

#include "core/result.h"
#include "hvf/sim/process.h"

using stasis::Result;
using stasis::hvf::sim::Gic;
using stasis::hvf::sim::kSpiBase;
using stasis::hvf::sim::kSpiCount;
using stasis::hvf::sim::Machine;
using stasis::hvf::sim::process;
using stasis::hvf::sim::Vcpu;

namespace {

// Calls action(Gic&) for a VM that has one.
template <typename Action>
hv_return_t with_gic(const Action& action) {
  return process().with_machine([&](const Machine& machine) -> Result<hv_return_t> {
    return machine.gic == nullptr ? hv_return_t{HV_NO_DEVICE} : machine.gic->with(action);
  });
}

// Calls action(Gic&, number of the CPU) on the vCPU's thread.
template <typename Action>
hv_return_t with_gic_of(hv_vcpu_t vcpu, const Action& action) {
  return process().with_vcpu(vcpu, [&](Vcpu& own, const Machine& machine) -> Result<hv_return_t> {
    if (machine.gic == nullptr) {
      return hv_return_t{HV_NO_DEVICE};
    }
    return machine.gic->with([&](Gic& gic) { return action(gic, own.creation_index); });
  });
}

// How wide a register is; nothing where none is. Arrays are named by their first.
std::optional<std::uint32_t> width_of_distributor_register(std::uint64_t offset) {
  const bool is_word = offset == HV_GIC_DISTRIBUTOR_REG_GICD_CTLR ||
                       offset == HV_GIC_DISTRIBUTOR_REG_GICD_TYPER ||
                       (offset >= HV_GIC_DISTRIBUTOR_REG_GICD_IGROUPR0 && offset < 0x800) ||
                       (offset >= HV_GIC_DISTRIBUTOR_REG_GICD_ICFGR0 && offset < 0xd00) ||
                       offset == HV_GIC_DISTRIBUTOR_REG_GICD_PIDR2;
  if (is_word && offset % 4 == 0) {
    return 4;
  }
  const bool is_route = offset >= HV_GIC_DISTRIBUTOR_REG_GICD_IROUTER32 && offset < 0x7fe0;
  return is_route && offset % 8 == 0 ? std::optional<std::uint32_t>(8) : std::nullopt;
}

std::optional<std::uint32_t> width_of_redistributor_register(std::uint64_t offset) {
  if (offset == HV_GIC_REDISTRIBUTOR_REG_GICR_TYPER) {
    return 8;
  }
  constexpr std::uint64_t kFrame = 0x10000;
  const std::uint64_t at = offset - kFrame;
  const bool is_word =
      offset == HV_GIC_REDISTRIBUTOR_REG_GICR_PIDR2 ||
      (offset >= kFrame && ((at >= 0x80 && at < 0x400 && at % 0x80 == 0) ||
                            (at >= 0x400 && at < 0x420) || at == 0xc00 || at == 0xc04));
  return is_word && offset % 4 == 0 ? std::optional<std::uint32_t>(4) : std::nullopt;
}

}  // namespace

hv_gic_config_t hv_gic_config_create() {
  return process().make_gic_config();
}

hv_return_t hv_gic_config_set_distributor_base(hv_gic_config_t config,
                                               hv_ipa_t distributor_base_address) {
  if (!process().owns(config)) {
    return HV_BAD_ARGUMENT;
  }
  config->distributor_base = distributor_base_address;
  return HV_SUCCESS;
}

hv_return_t hv_gic_config_set_redistributor_base(hv_gic_config_t config,
                                                 hv_ipa_t redistributor_base_address) {
  if (!process().owns(config)) {
    return HV_BAD_ARGUMENT;
  }
  config->redistributor_base = redistributor_base_address;
  return HV_SUCCESS;
}

hv_return_t hv_gic_create(hv_gic_config_t gic_config) {
  return process().gic_create(gic_config);
}

hv_return_t hv_gic_reset() {
  return process().gic_reset();
}

hv_return_t hv_gic_set_spi(std::uint32_t intid, bool level) {
  if (intid < kSpiBase || intid - kSpiBase >= kSpiCount) {
    return HV_BAD_ARGUMENT;
  }
  return with_gic([&](Gic& gic) {
    gic.set_spi(intid, level);
    return hv_return_t{HV_SUCCESS};
  });
}

hv_return_t hv_gic_get_distributor_reg(hv_gic_distributor_reg_t reg, std::uint64_t* value) {
  const auto width = width_of_distributor_register(reg);
  return with_gic([&](Gic& gic) {
    if (!width.has_value()) {
      return hv_return_t{HV_BAD_ARGUMENT};
    }
    *value = gic.read_distributor(reg, *width);
    return hv_return_t{HV_SUCCESS};
  });
}

hv_return_t hv_gic_set_distributor_reg(hv_gic_distributor_reg_t reg, std::uint64_t value) {
  const auto width = width_of_distributor_register(reg);
  return with_gic([&](Gic& gic) {
    if (!width.has_value()) {
      return hv_return_t{HV_BAD_ARGUMENT};
    }
    gic.write_distributor(reg, *width, value);
    return hv_return_t{HV_SUCCESS};
  });
}

// The frames follow the order in which the vCPUs were created, whatever their MPIDR_EL1.
hv_return_t hv_gic_get_redistributor_base(hv_vcpu_t vcpu, hv_ipa_t* redistributor_base_address) {
  return process().with_vcpu(
      vcpu, [&](const Vcpu& own, const Machine& machine) -> Result<hv_return_t> {
        if (machine.gic == nullptr) {
          return hv_return_t{HV_NO_DEVICE};
        }
        *redistributor_base_address = machine.gic->redistributor_of(own.creation_index);
        return hv_return_t{HV_SUCCESS};
      });
}

hv_return_t hv_gic_get_redistributor_reg(hv_vcpu_t vcpu, hv_gic_redistributor_reg_t reg,
                                         std::uint64_t* value) {
  const auto width = width_of_redistributor_register(reg);
  return with_gic_of(vcpu, [&](const Gic& gic, std::uint32_t cpu) {
    if (!width.has_value()) {
      return hv_return_t{HV_BAD_ARGUMENT};
    }
    *value = gic.read_redistributor(cpu, reg, *width);
    return hv_return_t{HV_SUCCESS};
  });
}

hv_return_t hv_gic_set_redistributor_reg(hv_vcpu_t vcpu, hv_gic_redistributor_reg_t reg,
                                         std::uint64_t value) {
  const auto width = width_of_redistributor_register(reg);
  return with_gic_of(vcpu, [&](Gic& gic, std::uint32_t cpu) {
    if (!width.has_value()) {
      return hv_return_t{HV_BAD_ARGUMENT};
    }
    gic.write_redistributor(cpu, reg, *width, value);
    return hv_return_t{HV_SUCCESS};
  });
}

hv_return_t hv_gic_get_icc_reg(hv_vcpu_t vcpu, hv_gic_icc_reg_t reg, std::uint64_t* value) {
  return with_gic_of(vcpu, [&](const Gic& gic, std::uint32_t cpu) {
    const std::optional<std::uint64_t> held = gic.peek_icc(cpu, reg);
    if (!held.has_value()) {
      return hv_return_t{HV_BAD_ARGUMENT};
    }
    *value = *held;
    return hv_return_t{HV_SUCCESS};
  });
}

// What holds nothing does something instead, which is the guest's alone.
hv_return_t hv_gic_set_icc_reg(hv_vcpu_t vcpu, hv_gic_icc_reg_t reg, std::uint64_t value) {
  return with_gic_of(vcpu, [&](Gic& gic, std::uint32_t cpu) {
    const bool is_written = gic.peek_icc(cpu, reg).has_value() && gic.write_icc(cpu, reg, value);
    return is_written ? hv_return_t{HV_SUCCESS} : hv_return_t{HV_BAD_ARGUMENT};
  });
}

hv_return_t hv_gic_get_distributor_size(std::size_t* distributor_size) {
  *distributor_size = stasis::hvf::sim::kDistributorBytes;
  return HV_SUCCESS;
}

hv_return_t hv_gic_get_distributor_base_alignment(std::size_t* distributor_base_alignment) {
  *distributor_base_alignment = stasis::hvf::sim::kGicAlignmentBytes;
  return HV_SUCCESS;
}

hv_return_t hv_gic_get_redistributor_region_size(std::size_t* redistributor_region_size) {
  *redistributor_region_size = stasis::hvf::sim::kRedistributorRegionBytes;
  return HV_SUCCESS;
}

hv_return_t hv_gic_get_redistributor_size(std::size_t* redistributor_size) {
  *redistributor_size = stasis::hvf::sim::kRedistributorBytes;
  return HV_SUCCESS;
}

hv_return_t hv_gic_get_redistributor_base_alignment(std::size_t* redistributor_base_alignment) {
  *redistributor_base_alignment = stasis::hvf::sim::kGicAlignmentBytes;
  return HV_SUCCESS;
}

hv_return_t hv_gic_get_spi_interrupt_range(std::uint32_t* spi_intid_base,
                                           std::uint32_t* spi_intid_count) {
  *spi_intid_base = kSpiBase;
  *spi_intid_count = kSpiCount;
  return HV_SUCCESS;
}

// The enumerators' values are the INTIDs.
hv_return_t hv_gic_get_intid(hv_gic_intid_t interrupt, std::uint32_t* intid) {
  *intid = interrupt;
  return HV_SUCCESS;
}

hv_gic_state_t hv_gic_state_create() {
  return process().gic_state_create();
}

hv_return_t hv_gic_state_get_size(hv_gic_state_t state, std::size_t* gic_state_size) {
  if (!process().owns(state)) {
    return HV_BAD_ARGUMENT;
  }
  *gic_state_size = state->bytes.size();
  return HV_SUCCESS;
}

hv_return_t hv_gic_state_get_data(hv_gic_state_t state, void* gic_state_data) {
  if (!process().owns(state)) {
    return HV_BAD_ARGUMENT;
  }
  std::memcpy(gic_state_data, state->bytes.data(), state->bytes.size());
  return HV_SUCCESS;
}

hv_return_t hv_gic_set_state(const void* gic_state_data, std::size_t gic_state_size) {
  return process().gic_set_state(
      std::span(static_cast<const std::byte*>(gic_state_data), gic_state_size));
}
