// hv_gic_*: creation with its rules, and the parameters. There is no interrupt controller behind it
// yet, so every call that would read or change one answers HV_UNSUPPORTED.
#include <Hypervisor/Hypervisor.h>

#include "core/result.h"
#include "hvf/sim/process.h"

using stasis::Result;
using stasis::hvf::sim::Machine;
using stasis::hvf::sim::process;
using stasis::hvf::sim::Vcpu;

namespace {

// What a call on the controller says: the misuse first, then that there is none.
hv_return_t unsupported() {
  return process().with_machine([](const Machine& machine) -> Result<hv_return_t> {
    return machine.gic.has_value() ? hv_return_t{HV_UNSUPPORTED} : hv_return_t{HV_NO_DEVICE};
  });
}

hv_return_t unsupported(hv_vcpu_t vcpu) {
  return process().with_vcpu(
      vcpu, [](Vcpu& /*own*/, const Machine& machine) -> Result<hv_return_t> {
        return machine.gic.has_value() ? hv_return_t{HV_UNSUPPORTED} : hv_return_t{HV_NO_DEVICE};
      });
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
  return unsupported();
}

hv_return_t hv_gic_set_spi(std::uint32_t intid, bool /*level*/) {
  if (intid < stasis::hvf::sim::kSpiBase ||
      intid - stasis::hvf::sim::kSpiBase >= stasis::hvf::sim::kSpiCount) {
    return HV_BAD_ARGUMENT;
  }
  return unsupported();
}

hv_return_t hv_gic_get_distributor_reg(hv_gic_distributor_reg_t /*reg*/, std::uint64_t* /*value*/) {
  return unsupported();
}

hv_return_t hv_gic_set_distributor_reg(hv_gic_distributor_reg_t /*reg*/, std::uint64_t /*value*/) {
  return unsupported();
}

// The frames follow the order in which the vCPUs were created, whatever their MPIDR_EL1.
hv_return_t hv_gic_get_redistributor_base(hv_vcpu_t vcpu, hv_ipa_t* redistributor_base_address) {
  return process().with_vcpu(
      vcpu, [&](const Vcpu& own, const Machine& machine) -> Result<hv_return_t> {
        if (!machine.gic.has_value()) {
          return hv_return_t{HV_NO_DEVICE};
        }
        *redistributor_base_address = *machine.gic->redistributor_base +
                                      (stasis::hvf::sim::kRedistributorBytes * own.creation_index);
        return hv_return_t{HV_SUCCESS};
      });
}

hv_return_t hv_gic_get_redistributor_reg(hv_vcpu_t vcpu, hv_gic_redistributor_reg_t /*reg*/,
                                         std::uint64_t* /*value*/) {
  return unsupported(vcpu);
}

hv_return_t hv_gic_set_redistributor_reg(hv_vcpu_t vcpu, hv_gic_redistributor_reg_t /*reg*/,
                                         std::uint64_t /*value*/) {
  return unsupported(vcpu);
}

hv_return_t hv_gic_get_icc_reg(hv_vcpu_t vcpu, hv_gic_icc_reg_t /*reg*/, std::uint64_t* /*value*/) {
  return unsupported(vcpu);
}

hv_return_t hv_gic_set_icc_reg(hv_vcpu_t vcpu, hv_gic_icc_reg_t /*reg*/, std::uint64_t /*value*/) {
  return unsupported(vcpu);
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
  *spi_intid_base = stasis::hvf::sim::kSpiBase;
  *spi_intid_count = stasis::hvf::sim::kSpiCount;
  return HV_SUCCESS;
}

// The enumerators' values are the INTIDs.
hv_return_t hv_gic_get_intid(hv_gic_intid_t interrupt, std::uint32_t* intid) {
  *intid = interrupt;
  return HV_SUCCESS;
}

hv_gic_state_t hv_gic_state_create() {
  return nullptr;
}

hv_return_t hv_gic_state_get_size(hv_gic_state_t /*state*/, std::size_t* /*gic_state_size*/) {
  return HV_BAD_ARGUMENT;  // No state object can exist.
}

hv_return_t hv_gic_state_get_data(hv_gic_state_t /*state*/, void* /*gic_state_data*/) {
  return HV_BAD_ARGUMENT;
}

hv_return_t hv_gic_set_state(const void* /*gic_state_data*/, std::size_t /*gic_state_size*/) {
  return unsupported();
}
